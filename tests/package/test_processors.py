"""How a batch is cut into pieces for a card, with lanes that compute on the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest
from lapsum_cli.operations.menu import Rank, TopK

from lapsum_cli.core.errors import BadRanking
from lapsum_cli.core.quantities import K
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.devices import processors
from lapsum_cli.operations.operation import Given

RANKINGS = Rankings.equal_length(np.random.default_rng(0).standard_normal((8, 5)), 8, 5)


class Lane(processors.Cpu):
    """Counts the pieces that it computes."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "lane", SimpleNamespace(held=0))
        object.__setattr__(self, "pieces", [])

    def run(self, operation, rankings, given, dtype=None):
        self.pieces.append(len(rankings))
        return super().run(operation, rankings, given, dtype)


@pytest.fixture
def lanes(monkeypatch):
    monkeypatch.setattr(processors, "PIECE", 10)
    return [Lane(), Lane()]


def test_pieces_on_two_lanes_give_what_one_batch_gives(lanes):
    given = Given(np.geomspace(0.1, 1, 8), np.arange(8.0), RANKINGS.values[::-1].copy())
    card = processors.GpuInPieces(lanes, lambda: 1 << 40, processors.Cpu())
    for operation in (Rank(gradient=True, grad_alpha=True), TopK(ks=(K(1.0),), gradient=True, grad_k=True)):
        got, expected = (on.run(operation, RANKINGS, given) for on in (card, processors.Cpu()))
        assert got.short == expected.short
        for name, values in {**expected.scores, **expected.rankings}.items():
            np.testing.assert_array_equal({**got.scores, **got.rankings}[name], values)
    assert [lane.pieces for lane in lanes] == [[2, 2] * 2] * 2


def test_of_several_bad_rankings_the_first_is_named(lanes):
    alphas = np.ones(8)
    alphas[[3, 4]] = -3, -4
    card = processors.GpuInPieces(lanes, lambda: 1 << 40, processors.Cpu())
    with pytest.raises(BadRanking, match="ranking 3: alpha must be positive and finite, got -3"):
        card.run(Rank(), RANKINGS, Given(alphas))


def test_a_full_card_is_said_once_and_leaves_whole_batches_to_the_cpu(lanes):
    said, cpu = [], Lane()
    card = processors.GpuInPieces(lanes, lambda: 0, cpu, said.append)
    for _ in range(2):
        card.run(Rank(), RANKINGS, Given(np.ones(8)))
    assert cpu.pieces == [8, 8]
    assert lanes[0].pieces == lanes[1].pieces == []
    assert len(said) == 1
