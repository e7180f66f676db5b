"""What was aimed at, and whether it is met: targets.py FOLDER, which has the figures.json of times.py."""

import json
import sys
from pathlib import Path

LONG = ("topk 1x100000000", "topk 1x10000000", "topk 1x1000000")
MANY = ("100000x1000", "1000000x100")
QUOTED = ("graph", "repeated", "lapsum")  # of a long top-k, the first of these that there is


def rows(figures):
    """(what, ratio or None, the side it is of, at most)"""

    def ratio(name, side, other, of=None):
        sides = figures.get(name, {})
        side = next((s for s in side if s in sides), None) if isinstance(side, tuple) else side
        below = figures.get(of or name, {}).get(other)
        return (sides[side] / below if side in sides and below else None), side

    for name in LONG:
        yield f"{name} / copy", *ratio(name, QUOTED, "copy"), 2
        yield f"{name} / torch.topk", *ratio(name, QUOTED, "torch"), 0.5
    name = "topk-gradient 1x100000000"
    yield f"{name} / copy of the scores", *ratio(name, "lapsum", "copy", LONG[0]), 4
    for length in ("1x10000000", "1x100000000"):
        yield f"rank {length} / torch.sort", *ratio(f"rank {length}", "lapsum", "torch"), 1.3
    for shape in MANY:
        yield f"topk {shape} / copy", *ratio(f"topk {shape}", "lapsum", "copy"), 2
        yield f"topk {shape} / torch.topk", *ratio(f"topk {shape}", "lapsum", "torch"), 0.5
        yield f"rank {shape} / torch.sort", *ratio(f"rank {shape}", "lapsum", "torch"), 1
    for operation in ("topk", "rank"):
        yield f"{operation} of 4e5 uneven / even", *ratio(f"{operation} uneven", "uneven", "even"), 1.5
    for operation in ("topk", "rank", "sort"):
        yield (
            f"{operation} through PyTorch, 4096x1000 / softsort",
            *ratio(f"torch {operation} large", "lapsum", "softsort"),
            1 / 3,
        )
    for operation in ("topk", "rank", "sort"):
        yield (
            f"{operation} through PyTorch, 8x128 / torch.sort",
            *ratio(f"torch {operation} small", "lapsum", "torch.sort"),
            5,
        )


def main(folder):
    try:
        figures = json.loads(Path(folder, "figures.json").read_text())
    except FileNotFoundError:
        print("nothing was timed")
        return 1
    print(f"{'':<52} {'is':>7} {'at most':>8}")
    met, count = 0, 0
    for what, is_now, side, most in rows(figures):
        count += 1
        met += is_now is not None and is_now <= most
        words = "not measured" if is_now is None else f"{'met' if is_now <= most else 'not met'} ({side})"
        print(f"{what:<52} {'' if is_now is None else format(is_now, '7.2f'):>7} {most:8.2f}  {words}")
    print(f"{met} of {count} met")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
