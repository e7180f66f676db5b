"""A card for rankings in memory here: pieces of a batch are copied there, computed and copied back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from ..core.cuts import cut
from ..core.errors import BadRanking
from ..core.rankings import Rankings
from .card import Card
from .cpu import Cpu

PIECE = 1 << 20  # scores that cross the bus at a time: enough that launches take less time than copies


class InPieces:
    """Lanes of a card, each with a thread that takes its pieces in turn: while the card computes one lane's, another's
    cross the bus. A ranking that the card has no room for is computed by the CPU, and `say` is told.
    """

    name: ClassVar[str] = Card.name
    batch: ClassVar[int] = Card.batch
    has_own_memory: ClassVar[bool] = True

    def __init__(
        self,
        lanes: list[Card],
        free: Callable[[], float],
        cpu: Cpu,
        say: Callable[[str], None] = lambda line: None,
    ):
        """free: a function that tells how many bytes the card has left."""
        self.lanes, self.free, self.cpu, self.say, self.told = lanes, free, cpu, say, False

    def compute(self, operation: Any, rankings: Rankings, results: bool = True) -> Any:
        """Every slot that an operation gives."""
        cost, count = operation.card_bytes(rankings.values.itemsize), min(len(self.lanes), max(1, len(rankings)))
        free = self.free() + sum(card.place.held for card in self.lanes[:count])
        room = int(0.8 * min(free, 1 << 50)) // count // max(cost, 1)
        shortest = rankings.lengths.min(initial=1 << 62, where=rankings.lengths > 0)
        whole = not operation.in_pieces or shortest > room  # where none fits they are one task of the CPU
        most = len(rankings.values) + 1 if whole else min(PIECE, room)
        pieces = list(cut(rankings.offsets, most)) or [(0, 0)]
        # What is drawn by the number of a ranking goes by that in the call, where a file has not said another.
        rankings = rankings if "number" in rankings.each else operation.numbered(rankings, 0)

        def compute(turn: int) -> list[Any]:
            return [
                self._piece(operation, rankings, results, piece, room, cost, self.lanes[turn])
                for piece in pieces[turn::count]
            ]

        if len(pieces) == 1:
            found = compute(0)
        else:
            with ThreadPoolExecutor(count) as pool:
                shares = list(pool.map(compute, range(count)))
            found = [shares[i % count][i // count] for i in range(len(pieces))]
        for result in found:
            if isinstance(result, BadRanking):
                raise result
        return found[0] if len(found) == 1 else type(found[0]).joined(found)

    def _piece(
        self,
        operation: Any,
        rankings: Rankings,
        results: bool,
        piece: tuple[int, int],
        room: int,
        cost: int,
        card: Card,
    ) -> Any:
        """The result of a piece; or what is wrong with one of its rankings, of which the first of all is to be told."""
        part = rankings.piece(*piece)
        size = len(part.values)
        fits = size <= room
        if not fits and not self.told:
            self.told = True
            self.say(
                f"{size} scores need {size * cost >> 20} MiB on the card, which has "
                f"{int(self.free()) >> 20} MiB free: the CPU computes them, and whatever else has no room"
            )
        try:
            result = (card if fits else self.cpu).compute(operation, part, results)
            result.alphas = None if result.alphas is None else card.here_array(result.alphas)
            return result
        except BadRanking as error:
            return BadRanking(error.ranking + piece[0], error.problem)

    def has_nan(self, values: Any) -> bool:
        """Whether any number is NaN."""
        return self.cpu.has_nan(values)

    def wait(self) -> None:
        """Results are in memory here."""
