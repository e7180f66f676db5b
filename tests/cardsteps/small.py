"""Every kernel on small rankings, for compute-sanitizer, which makes each launch a hundred times slower."""

import numpy as np
from cardcases import METHODS, by_method, rankings_of, rows_of, upstream_of
from common import either, lane
from onecard import run_kernels_of_lapsum, run_loops_of_teams

from lapsum_cli import Rank, Sort, TopK
from lapsum_cli.core.quantities import K
from lapsum_cli.devices.card import Card

lane = lane()
for dtype in either(("float32", "float64"), ("float32",)):
    for lengths in either(((100, 100, 100), (200, 70_000)), ((2, 2, 2), (65,))):
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        for run in (run_loops_of_teams, run_kernels_of_lapsum):
            run(lane, offsets, dtype)
            print(f"{run.__name__}, {dtype}, rankings of {lengths}", flush=True)
    rows = rows_of(dtype, "normal", either((1, 0, 2, 5, 33, 257, 2049), (0, 2, 7)))
    rankings = rankings_of(rows, np.geomspace(0.01, 1, len(rows)), upstream=upstream_of(rows, dtype))
    by_methods = [by_method(method, (K(50, True),), gradient=True) for method in METHODS]
    for operation in (Rank(gradient=True), Sort(gradient=True), TopK(ks=(K(50, True),), gradient=True), *by_methods):
        Card(lane).compute(operation, rankings)
        print(f"{operation.name} of random scores, {dtype}", flush=True)
lane.wait()
