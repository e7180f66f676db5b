"""Times on a card, of all that is aimed at: times.py FOLDER

figures.json in the folder has the seconds of every side, and is written after each case; speed.md there is the page
of `lapsum help`, with the table of the benchmark in its place. Sides are those of `lapsum bench --device cuda`, and

repeated    lapsum, with results in the arrays of the run before
"""

import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from common import either, lane, line_of

lane()
import through_torch  # noqa: E402  once there is a card

from lapsum_cli import Rank, TopK  # noqa: E402
from lapsum_cli.core.quantities import Alpha, K  # noqa: E402
from lapsum_cli.core.rankings import Rankings  # noqa: E402
from lapsum_cli.devices.card import Card  # noqa: E402
from lapsum_cli.kernels.cuda.repeating import Keeping  # noqa: E402
from lapsum_cli.study.bench import cards  # noqa: E402
from lapsum_cli.study.bench.cases import Choice  # noqa: E402
from lapsum_cli.study.bench.clock import take_turns  # noqa: E402
from lapsum_cli.study.bench.machine import machine  # noqa: E402
from lapsum_cli.study.bench.peers import find_peers  # noqa: E402
from lapsum_cli.study.bench.run import report_of  # noqa: E402
from lapsum_cli.study.report.record import Record  # noqa: E402

CASES = [  # those that most depends on first: a run may be cut off
    ("topk", "1x1000000"),
    ("topk", "1x10000000"),
    ("rank", "1x10000000"),
    ("topk", "1000000x100"),
    ("topk", "100000x1000"),
    ("rank", "100000x1000"),
    ("rank", "1000000x100"),
    ("topk", "1x100000000"),
    ("topk-gradient", "1x100000000"),
    ("rank", "1x100000000"),
]
TINY = [("topk", "1x40"), ("rank", "2x8"), ("topk-gradient", "1x40")]
MANY, MEAN = either((400_000, 10), (6, 4))
RUNS = either(9, 1)
CHOICE = Choice(
    operations=list(dict.fromkeys(operation for operation, _ in either(CASES, TINY))),
    shapes=list(dict.fromkeys(shape for _, shape in either(CASES, TINY))),
    dtypes=["float32"],
    scores=["normal"],
    alpha=0.1,
    k="10%",
    threads=None,
    device="cuda",
)


def case_of(operation, shape):
    """It has k = 10%, as all of them."""
    [case] = replace(CHOICE, operations=[operation], shapes=[shape]).shape_cases()
    return case


def repeated(work):
    """lapsum on a lane that makes no new results."""
    kept = Keeping(work.lane.stream)
    kept.learn(partial(work.run, 0, kept))
    return {"repeated": work.side(lambda i: kept.again(partial(work.run, i, kept)))}


def uneven():
    """Operation -> sides: rankings of geometric length, with the same offsets or new ones; and all of the mean."""
    lengths = np.random.default_rng(0).geometric(1 / MEAN, MANY)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    even = np.arange(MANY + 1, dtype=np.int64) * MEAN
    case = case_of("topk", f"1x{max(offsets[-1], even[-1])}")
    work = cards.Work.of(case, case.inputs())
    card, found = Card(work.lane), {}

    def side(operation, offsets, is_new=False):
        parts = [scores[: offsets[-1]] for [scores] in work.copies]
        return work.side(lambda i: card.compute(operation, Rankings(parts[i], offsets.copy() if is_new else offsets)))

    for operation in (TopK(alpha=Alpha(0.1), ks=(K(10.0, True),)), Rank(alpha=Alpha(0.1))):
        sides = {
            "uneven": side(operation, offsets),
            "new offsets": side(operation, offsets, is_new=True),
            "even": side(operation, even),
        }
        found[operation.name] = {name: times.median for name, times in take_turns(sides, RUNS).items()}
    return found


def main(folder):
    peers, figures, measured, start = find_peers([], ["shapes"], "cuda"), {}, [], time.perf_counter()
    print(machine(peers, "cuda"), flush=True)
    print(f"beside {', '.join(peer.name for peer in peers) or 'nothing: neither PyTorch nor CuPy sees a card'}")

    def keep(name, seconds):
        figures[name] = seconds
        Path(folder, "figures.json").write_text(json.dumps(figures, indent=1))
        sides = "  ".join(f"{side} {value * 1e3:.3f}" for side, value in seconds.items())
        print(f"{time.perf_counter() - start:5.0f} s  {name}, ms: {sides}", flush=True)

    def tried(name, function):
        try:
            return function()
        except Exception as error:
            print(f"{time.perf_counter() - start:5.0f} s  {name}: {line_of(error)}", flush=True)

    for name, sides in (tried("uneven", uneven) or {}).items():
        keep(f"{name} uneven", sides)
    for name, sides in through_torch.cases():
        found = tried(name, sides)
        if found:
            keep(name, found)
    for operation, shape in either(CASES, TINY):
        case = case_of(operation, shape)
        found = tried(case, lambda case=case: cards.measure(case, peers, RUNS, print, repeated))
        if found:
            keep(f"{operation} {shape}", {name: times.median for name, times in found.sides.items()})
            measured.append(replace(found, sides={n: t for n, t in found.sides.items() if n != "repeated"}))
    if not measured:
        return 1
    page = Path(folder, "speed.md")
    page.write_bytes((Path(__file__).parents[2] / "lapsum_cli/pages/speed.md").read_bytes())
    report = report_of(machine(peers, "cuda"), {"shapes": measured}, CHOICE, RUNS)
    Record(str(page), list(report.blocks())).write(report.blocks())
    Path(folder, "bench.json").write_text(report.json())
    print(report.markdown())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
