"""Every operation on a card, each under try, beside what the CPU made of the same rankings.

every.py save FILE     by the CPU, where there is time for that
every.py compare FILE  by the card; without the file the CPU makes now what it is compared with
"""

import contextlib
import os
import pickle
import sys
import threading
import time
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from cardcases import KINDS, METHODS, TOLERANCE, agree, by_method, rankings_of, rows_of, upstream_of
from common import IS_REHEARSED, either, lane, line_of

from lapsum_cli import Loss, Permute, Rank, Sort, TopK
from lapsum_cli.core.quantities import Alpha, K
from lapsum_cli.devices.card import Card
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.operations import LOSSES
from lapsum_cli.operations.slots import PAIR
from lapsum_cli.operations.stages import STAGE

# Lengths of rankings: a few of every kind, many short ones, a long one. The simulator takes a second for a few scores.
SHAPES = {
    "mixed": (1, 0, 2, 5, 31, 32, 33, 100, 256, 257, 2049, 9000, 30_000),
    "tens": (10,) * 1000,
    "hundreds": (100,) * 150,
    "uneven": tuple(np.random.default_rng(3).geometric(0.1, 1000)),
    "thousands": (1000,) * 12,
    "long": (70_001,),
}
if IS_REHEARSED:
    SHAPES = {"mixed": (1, 0, 33), "tens": (5,) * 4, "long": (70,)}
# A card is of no use to a process after these.
DEAD = ("ILLEGAL", "LAUNCH_FAILED", "MISALIGNED", "unspecified launch", "LAUNCH_TIMEOUT", "STACK_ERROR", "INVALID_PC")
DEAD += ("INVALID_ADDRESS_SPACE", "CUDA_ERROR_ASSERT", "CONTEXT_IS_DESTROYED")
PATIENCE = either(20, 600)  # seconds that an operation may take, compiling included


def cases():
    """(name, operation, rankings)"""
    every = [(shape, kind) for kind in KINDS[: either(2, 1)] for shape in SHAPES]
    every += [("mixed", kind) for kind in KINDS[either(2, 4) :]]
    for shape, (dtype, descending, kind) in every:
        rows = rows_of(dtype, kind, SHAPES[shape])
        name, of_all = f"{shape} {kind} {dtype}", {"descending": descending, "gradient": True, "grad_alpha": True}
        alphas, beside = np.geomspace(1e-2, 10, len(rows)), {"upstream": upstream_of(rows, dtype)}
        ks = np.array([(0.3, 0, n, 1.5, 0.25 * n, n / 2, 0.9 * n)[i % 7] for i, n in enumerate(map(len, rows))])
        yield f"rank {name}", Rank(**of_all), rankings_of(rows, alphas, **beside)
        yield f"sort {name}", Sort(**of_all), rankings_of(rows, alphas, **beside)
        for log in (False, True):
            operation = TopK(**of_all, log=log, ks=(K(1.0),), threshold=True, grad_k=True)
            yield f"{'log ' if log else ''}topk {name}", operation, rankings_of(rows, alphas, ks, **beside)
            for method in METHODS:
                operation = by_method(method, **of_all, log=log, grad_k=True)
                yield f"{'log ' if log else ''}{method} {name}", operation, rankings_of(rows, alphas, ks, **beside)
    for dtype, descending, kind in KINDS[: either(2, 1)]:
        rows = rows_of(dtype, kind, either((2, 5, 33, 1000, 3000), (2, 9)))  # some losses go through all pairs
        target = np.random.default_rng(2).integers(0, 4, sum(map(len, rows))).astype(float)
        target[[0, 2]] = 5  # none is constant
        for loss in LOSSES:
            ks = None if LOSSES[loss].k == "none" else np.array([max(1.0, len(x) / 4) for x in rows])
            beside = {STAGE: np.concatenate(rows)[::-1].copy()} if LOSSES[loss].stages > 1 else {}
            given = {"gradient": True, "grad_alpha": True, "stages": ("a", "b") if beside else ()}
            operation = Loss(loss=loss, descending=descending, **given)
            yield (
                f"{loss} loss {dtype}",
                operation,
                rankings_of(rows, np.geomspace(0.1, 1, len(rows)), ks, target=target, **beside),
            )
        rows = rows_of(dtype, kind, (1, 6, 20))
        yield f"permute {dtype}", Permute(descending=descending), rankings_of(rows, np.array([0.1, 0.5, 2.0]))
        relative = Rank(alpha=Alpha(0.3, "std"))
        yield f"deviations {dtype}", relative, rankings_of(rows_of(dtype, "infinite", (2, 7, 70)))


def save(file):
    """What the CPU makes of all of them."""
    found = {}
    for name, operation, rankings in cases():
        found[name] = Cpu(os.cpu_count()).compute(operation, rankings), zlib.crc32(rankings.values)
    Path(file).write_bytes(pickle.dumps(found))
    print(f"{len(found)} results of the CPU, {Path(file).stat().st_size >> 20} MiB")


def compare(file, first=0, failed=0):
    """All of them on the card, from the first on. A card that a kernel has upset needs a process of its own."""
    card, expected = Card(lane()), {}
    try:
        expected = pickle.loads(Path(file).read_bytes())
    except FileNotFoundError:
        print("nothing was saved beforehand, so the CPU computes too: python3 tests/on_a_card.py expected")
    for i, (name, operation, rankings) in enumerate(cases()):
        if i < first:
            continue
        start, words = time.perf_counter(), "as the CPU"
        try:
            with ending(partial(on, f"{name}: no end after {PATIENCE} s", i + 1, failed + 1)):
                result = card.compute(operation, rankings)
            saved, of_scores = expected.get(name, (None, None))
            if of_scores != zlib.crc32(rankings.values):  # no file, or other random numbers
                saved = Cpu(os.cpu_count()).compute(operation, rankings)
            check(operation, result, saved, rankings)
        except Exception as error:
            failed, words = failed + 1, line_of(error)
        seconds = time.perf_counter() - start
        if words != "as the CPU" or seconds > 1:
            print(f"{name:<36} {seconds:6.2f} s  {words}")
        if any(sign.lower() in words.lower() for sign in DEAD):
            on("the card is not usable after this", i + 1, failed)
    print(f"{i + 1 - failed} of {i + 1} as the CPU")
    return int(failed > 0)


@contextlib.contextmanager
def ending(otherwise):
    """Do something else where this does not end soon: who waits for a kernel hears no signal."""
    watch = threading.Timer(PATIENCE, otherwise)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def on(why, first, failed):
    """Go on with the next operation in a new process, which replaces this one."""
    print(f"{why}: on in a new process", flush=True)
    os.execv(sys.executable, [sys.executable, *sys.argv[:3], str(first), str(failed)])


def check(operation, result, expected, rankings):
    """As the CPU's, within what the tests allow; ten times that for a top-k in float32, whose gradients cancel, or by
    another method, whose threshold is searched for.
    """
    if operation.gives[0].per == PAIR:
        [got], [want] = result.values.values(), expected.values.values()
        for r, n in enumerate(rankings.lengths):
            np.testing.assert_allclose(got.dense(r, 0, n), want.dense(r, 0, n), rtol=0, atol=TOLERANCE[rankings.dtype])
        return
    if isinstance(operation, Loss):
        np.testing.assert_allclose(result.losses, expected.losses, rtol=1e-11)
    dtype = rankings.dtype
    is_looser = isinstance(operation, TopK) and (dtype == "float32" or operation.method != "lapsum")
    agree(result, expected, dtype, 10 if is_looser else 1)


if __name__ == "__main__":
    what, file, *rest = sys.argv[1:]
    sys.exit({"save": save, "compare": compare}[what](file, *map(int, rest)))
