"""Whether the tests got the same from the card twice, to the bit: same.py FIRST SECOND, prefixes of their digests."""

import sys
from collections import Counter
from pathlib import Path


def digests(prefix):
    """test, number of the result within it, digest; how often."""
    path = Path(prefix)
    return Counter(line for file in path.parent.glob(f"{path.name}.digests*") for line in file.read_text().splitlines())


def main(first, second):
    first, second = digests(first), digests(second)
    differing = sorted({line.rpartition(" ")[0] for line in (first - second) + (second - first)})
    print(*differing[:10], sep="\n")
    print(f"{(first & second).total()} results the same to the bit, {len(differing)} not, or only once")
    return int(bool(differing) or not first)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
