"""Rankings cut into tiles, a block of threads for each: where each ranking ends depends on nothing but its length.

A ranking is cut from its own start, so its sums are added in an order that does not depend on what it stands beside.
Short rankings are one tile each, and take fewer threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...core.rankings import is_fixed
from .adapter import Lane, cuda, float64, kernel
from .blocks import block_maxima, block_sums

# Of a top-k: up to how many scores so many neighbours in a warp are the team of a ranking (alone.py). Longer ones, up
# to LONG, are a block's of MANY_THREADS.
TEAMS = ((16, 1), (128, 2), (256, 4), (512, 8), (2048, 32))
SHORT = 256  # scores up to which a ranking is a warp's in a sweep
FEW_THREADS, THREADS, MANY_THREADS = 32, 128, 256
SCAN_THREADS = 256, 1024  # that join the tiles of a long ranking, and those of one of more than four for each
ROWS_OF_TILE, ROWS_OF_SHORT = 4, 5  # of shared memory that a sweep has for each thread, before those of scores
WALK = 32  # scores up to which a sweep leaves a ranking to one thread, and FEW_THREADS of them to a block
TILE = 1152  # scores of a tile of a sweep: nine for each of its threads, which is odd (sweeps.run_of)
LARGEST = 1 << 62
LONG = 1 << 15  # scores from which the threshold of a top-k is narrowed down by many blocks
LARGE_TILE, MOST_TILES = 4096, 1848  # of a ranking that is only summed: one block can add the sums of its tiles
# Of a pass that writes, however long the ranking: blocks that work at the same time are near each other in memory. On
# an H200 10^8 scores in 1848 tiles took twice as long as a copy of them, and take as long so.
WRITTEN_TILE = 8192


class Tiles:
    """Tiles on the card: tile i is scores begin[i] .. end[i] of ranking[i]; first[r] is the first of ranking r.

    Each table is made, and sent, when it is first asked for: few kernels need all of them.
    """

    def __init__(self, layout: OnTiles, tile: np.ndarray | int, has_any: np.ndarray | bool = True):
        """tile: how many scores a tile takes, of all rankings or of each (m,); has_any: (m,) which are in tiles."""
        self._layout, self._tile, self._has_any = layout, tile, has_any
        # Where every ranking is one tile its tables are the offsets, and the numbers 0, 1, 2, of which one table serves
        # all: of 10^6 rankings a division takes milliseconds, and so does each array that is sent.
        self._is_whole = isinstance(tile, int) and layout.longest <= tile
        self._is_each = self._is_whole and has_any is True and not layout.has_empty

    @cached_property
    def count(self) -> int:
        """How many there are."""
        if self._has_any is False:
            return 0
        return self._layout.count if self._is_each else int(self._first[-1])

    @cached_property
    def _counts(self) -> np.ndarray:
        lengths = self._layout.lengths
        counts = lengths > 0 if self._is_whole else -(-lengths // self._tile)
        return (counts * self._has_any).astype(np.int64, copy=False)

    @cached_property
    def _first(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self._counts)])

    @cached_property
    def of(self) -> np.ndarray:
        """(tiles,) int64, in memory here: the ranking of each."""
        rankings = np.arange(self._layout.count)
        return rankings if self._is_each else np.repeat(rankings, self._counts)

    @property
    def lengths(self) -> np.ndarray:
        """(tiles,) int64, in memory here: how long the ranking of each is."""
        return self._layout.lengths if self._is_each else self._layout.lengths[self.of]

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        of, here = self.of, self._layout.here
        tile = self._tile if isinstance(self._tile, int) else self._tile[of]
        begin = here[of] + (np.arange(self.count) - self._first[of]) * tile
        return begin, np.minimum(begin + tile, here[of + 1])

    @cached_property
    def ranking(self) -> Any:
        """(tiles,) int64."""
        return self._layout.counting(self.count) if self._is_each else self._layout.put(self.of)

    @cached_property
    def begin(self) -> Any:
        """(tiles,) int64."""
        return self._layout.offsets[: self.count] if self._is_each else self._layout.put(self._ends[0])

    @cached_property
    def end(self) -> Any:
        """(tiles,) int64."""
        return self._layout.offsets[1:] if self._is_each else self._layout.put(self._ends[1])

    @cached_property
    def first(self) -> Any:
        """(m + 1,) int64."""
        return self._layout.counting(self.count + 1) if self._is_each else self._layout.put(self._first)

    @cached_property
    def classes(self) -> list[tuple[int, int, Any]]:
        """(threads, most scores of a tile, numbers of tiles on the card) of short rankings, and of others."""
        return self.of_lengths([(0, None), (SHORT, FEW_THREADS), (LARGEST, THREADS)])

    def of_lengths(self, table: list[tuple[int, int | None]]) -> list[tuple[int, int, Any]]:
        """The same by a table: up to how many scores of its ranking a tile has so many threads, rising; None: no tile
        of these is wanted.
        """
        most = int(np.max(self._tile, initial=0))
        return [
            (threads, min(longest, most), self._layout.numbers(numbers, self.count))
            for threads, longest, numbers in by_length(self.lengths, table)
        ]

    @cached_property
    def several(self) -> Any:
        """The rankings of more than one tile."""
        return self._layout.counting(0) if self._is_each else self._layout.put(np.flatnonzero(self._counts > 1))

    @cached_property
    def scan_threads(self) -> int:
        """Of a block that joins the tiles of a ranking of several."""
        few, many = SCAN_THREADS
        return many if self._counts.max(initial=0) > 4 * few else few

    @cached_property
    def single(self) -> Any:
        """The others."""
        if self._is_each:
            return self._layout.counting(self.count)
        return self._layout.put(np.flatnonzero((self._counts <= 1) & self._has_any))


def by_length(lengths: np.ndarray, table: Iterable[tuple[int, Any]]) -> list[tuple[Any, int, np.ndarray | None]]:
    """(what, the longest, which (chosen,); None for all) of those that have any of lengths (m,), by a table: up to
    which length what is, rising, and None of what is left out.

    Each step goes through what the steps before have left: of most rankings the first few do away with nearly all.
    """
    found: list[tuple[Any, int, np.ndarray | None]] = []
    left = None
    for most, what in table:
        of = lengths if left is None else lengths[left]
        if not of.size:
            break
        is_in = of <= most
        if is_in.all():
            if what is not None:
                found.append((what, int(of.max()), left))
            break
        if is_in.any():
            chosen, rest = np.flatnonzero(is_in), np.flatnonzero(~is_in)
            if what is not None:
                found.append((what, int(of[chosen].max()), chosen if left is None else left[chosen]))
            left = rest if left is None else left[rest]
    return found


@dataclass(frozen=True)
class Swept:
    """How sweeps go through rankings: a thread each where they are short (walks.py), else a block for each tile."""

    classes: list  # (threads, most scores of a tile, numbers of tiles on the card) of all but the short ones
    parts: object  # numbers of the tiles of rankings of more than one, on the card
    short: object  # (short,) int64 there: which rankings a thread walks
    slots: object  # (short + 1,) int64 there: the first slot of each, counted on through all blocks
    most: int  # slots of a block


class OnTiles:
    """The rankings of one batch on a card: offsets (m + 1,) int64 here and there, and their tiles."""

    def __init__(self, lane: Lane, offsets: np.ndarray):
        self.lane, self.here, self.lengths = lane, offsets, np.diff(offsets)
        self.count, self.size = len(offsets) - 1, int(offsets[-1])
        self.longest = int(self.lengths.max(initial=0))
        self.offsets, self._kept = lane.put(offsets), {}

    @classmethod
    def of(cls, lane: Lane, offsets: np.ndarray) -> OnTiles:
        """The layout of these offsets; that of the batch before if it is the same."""
        kept = lane.tables.get("layout")
        if kept is None or not _are_equal(kept.here, offsets):
            kept = lane.tables["layout"] = cls(lane, offsets)
        return kept

    def kept(self, make: Callable[..., Any], *given: Any) -> Any:
        """What a function makes of the offsets, and of what is given beside them, made once."""
        if (make, given) not in self._kept:
            self._kept[make, given] = make(self, *given)
        return self._kept[make, given]

    def put(self, table: np.ndarray) -> Any:
        """A table that goes with the offsets, on the card."""
        return self.lane.put(table)

    def counting(self, count: int) -> Any:
        """(count,) int64 on the card: 0, 1, 2; a part of one table for all offsets."""
        there = self.lane.tables.get("counting")
        if there is None or there.size < count:
            there = self.lane.tables["counting"] = self.put(np.arange(max(count, 1 << 10)))
        return there[:count]

    def numbers(self, chosen: np.ndarray | None, count: int) -> Any:
        """Those that were chosen of so many, on the card; None: all."""
        return self.counting(count) if chosen is None else self.put(chosen)

    @cached_property
    def has_empty(self) -> bool:
        """Whether a ranking has no scores, and so no block."""
        return not self.lengths.all()

    @cached_property
    def tiles(self) -> Tiles:
        """For sweeps, whose scores pass through shared memory."""
        return Tiles(self, TILE)

    @cached_property
    def large_tiles(self) -> Tiles:
        """For sums: tiles of at least LARGE_TILE scores, at most MOST_TILES of a ranking."""
        return Tiles(self, _large(self))

    @cached_property
    def _is_long(self) -> np.ndarray | bool:
        return self.lengths > LONG if self.longest > LONG else False

    @cached_property
    def tiles_of_long(self) -> Tiles:
        """Of a top-k: large tiles of the rankings that no team has alone."""
        return Tiles(self, _large(self), self._is_long)

    @cached_property
    def written_of_long(self) -> Tiles:
        """The same for passes that write: smaller ones, so that blocks at work are near each other in memory."""
        return Tiles(self, WRITTEN_TILE, self._is_long)

    @cached_property
    def swept(self) -> Swept:
        """For sweeps: an odd number of slots for each short ranking, so that few threads meet in a bank of memory."""
        put, none = self.lane.put, np.zeros(0, np.int64)
        classes = self.tiles.of_lengths([(WALK, None), (SHORT, FEW_THREADS), (LARGEST, THREADS)])
        parts = none if self.longest <= TILE else np.flatnonzero(self.tiles.lengths > TILE)
        found = by_length(self.lengths, [(0, None), (WALK, FEW_THREADS), (LARGEST, None)])
        short = found[0][2] if found else none
        slots = np.concatenate([[0], np.cumsum((self.lengths if short is None else self.lengths[short]) | 1)])
        most = int(np.diff(np.append(slots[:-1:FEW_THREADS], slots[-1])).max(initial=0))
        return Swept(classes, put(parts), self.numbers(short, self.count), put(slots), most)

    def sweep(self, of_tiles, of_short, rows: tuple[int, int], given: tuple, *of_tiles_alone) -> None:
        """Run a kernel for every tile, of_tiles(numbers, table's ranking, begin, end, *given, *of_tiles_alone), and one
        for every block of short rankings, of_short(short, slots, *given).

        rows: how many numbers either has for each of its scores in shared memory, behind those for threads, if any
        """
        table, swept = self.tiles, self.swept
        for threads, largest, numbers in swept.classes:
            tiles = (numbers, table.ranking, table.begin, table.end)
            each = ROWS_OF_TILE + rows[0] * -(-largest // threads) if rows[0] else 0
            self.lane.launch(of_tiles, len(numbers), threads, each, *tiles, *given, *of_tiles_alone)
        blocks, each = -(-len(swept.short) // FEW_THREADS), ROWS_OF_SHORT + rows[1] * -(-swept.most // FEW_THREADS)
        self.lane.launch(of_short, blocks, FEW_THREADS, each, swept.short, swept.slots, *given)

    def each_part(self, function, rows: int, *arguments) -> None:
        """Run a kernel for every tile of rankings of more than one, as each_tile does."""
        table, parts = self.tiles, self.swept.parts
        given = (parts, table.ranking, table.begin, table.end, *arguments)
        self.lane.launch(function, len(parts), THREADS, rows, *given)

    def each_tile(self, table: Tiles, function, rows: int, *arguments) -> None:
        """Run a kernel for every tile: function(numbers, table's ranking, begin, end, *arguments)."""
        for threads, _, numbers in table.classes:
            given = (numbers, table.ranking, table.begin, table.end, *arguments)
            self.lane.launch(function, len(numbers), threads, rows, *given)

    def clear(self, chosen: np.ndarray, values) -> None:
        """Set the values (N,) of the chosen rankings (m,) to 0."""
        self.each_tile(self.tiles, _clear, 0, self.lane.put(chosen), values)

    def totals(self, table: Tiles, name: str, partials, largest: bool = False):
        """Values (rows, m) of the rankings from those (rows, tiles) of their tiles: sums, or the largest."""
        out = self.lane.room(name, (len(partials), self.count), np.float64)
        function = _largest_of_tiles if largest else _sums_of_tiles
        for rankings, threads in ((table.single, FEW_THREADS), (table.several, table.scan_threads)):
            self.lane.launch(function, len(rankings), threads, 1, rankings, table.first, partials, out)
        return out


def _large(layout: OnTiles) -> np.ndarray | int:
    if layout.longest <= LARGE_TILE * MOST_TILES:
        return LARGE_TILE
    return np.maximum(LARGE_TILE, -(-layout.lengths // MOST_TILES))


@kernel
def _sums_of_tiles(rankings, first, partials, out):
    s, t, r = cuda.shared.array(0, float64), cuda.threadIdx.x, rankings[cuda.blockIdx.x]
    for row in range(partials.shape[0]):
        total = 0.0
        for tile in range(first[r] + t, first[r + 1], cuda.blockDim.x):
            total += partials[row, tile]
        block_sums(s, (total,))
        if t == 0:
            out[row, r] = s[0]


@kernel
def _largest_of_tiles(rankings, first, partials, out):
    s, t, r = cuda.shared.array(0, float64), cuda.threadIdx.x, rankings[cuda.blockIdx.x]
    for row in range(partials.shape[0]):
        largest = -np.inf
        for tile in range(first[r] + t, first[r + 1], cuda.blockDim.x):
            largest = max(largest, partials[row, tile])
        block_maxima(s, (largest,))
        if t == 0:
            out[row, r] = s[0]


def _are_equal(known: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether they are the same numbers; what nobody can have written to (rankings.equal_offsets) is not read."""
    return (known is offsets and is_fixed(offsets)) or np.array_equal(known, offsets)


@kernel
def _clear(numbers, ranking, begin, end, chosen, values):
    tile = numbers[cuda.blockIdx.x]
    if chosen[ranking[tile]]:
        for i in range(begin[tile] + cuda.threadIdx.x, end[tile], cuda.blockDim.x):
            values[i] = 0
