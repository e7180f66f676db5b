"""How a batch is cut into pieces for a card, with lanes that compute on the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest

from lapsum_cli.core.errors import BadRanking
from lapsum_cli.core.quantities import K
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.devices import pieces
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.operations.rank import Rank
from lapsum_cli.operations.topk import TopK

RANKINGS = Rankings.equal_length(np.random.default_rng(0).standard_normal((8, 5)), 8, 5)


class Lane:
    """Counts the pieces that it computes."""

    def __init__(self):
        self.place, self.pieces = SimpleNamespace(held=0), []

    def compute(self, operation, rankings, results=True):
        self.pieces.append(len(rankings))
        return Cpu().compute(operation, rankings, results)

    def here_array(self, values):
        return values


@pytest.fixture
def lanes(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 10)
    return [Lane(), Lane()]


def test_pieces_on_two_lanes_give_what_one_batch_gives(lanes):
    beside, each = {"upstream": RANKINGS.values[::-1].copy()}, {"alpha": np.geomspace(0.1, 1, 8), "k": np.arange(8.0)}
    rankings = Rankings(RANKINGS.values, RANKINGS.offsets, beside, each)
    card = pieces.InPieces(lanes, lambda: 1 << 40, Cpu())
    for operation in (Rank(gradient=True, grad_alpha=True), TopK(ks=(K(1.0),), gradient=True, grad_k=True)):
        got, expected = (on.compute(operation, rankings) for on in (card, Cpu()))
        assert list(got.values) == list(expected.values) == list(operation.gives)
        for slot, values in expected.values.items():
            np.testing.assert_array_equal(got.values[slot], values)
    assert [lane.pieces for lane in lanes] == [[2, 2] * 2] * 2


def test_of_several_bad_rankings_the_first_is_named(lanes):
    alphas = np.ones(8)
    alphas[[3, 4]] = -3, -4
    card = pieces.InPieces(lanes, lambda: 1 << 40, Cpu())
    with pytest.raises(BadRanking, match="ranking 3: alpha must be positive and finite, got -3"):
        card.compute(Rank(), RANKINGS.with_each({"alpha": alphas}))


def test_a_full_card_is_said_once_and_leaves_whole_batches_to_the_cpu(lanes):
    said, cpu = [], Lane()
    card = pieces.InPieces(lanes, lambda: 0, cpu, said.append)
    for _ in range(2):
        card.compute(Rank(), RANKINGS.with_each({"alpha": np.ones(8)}))
    assert cpu.pieces == [8, 8]
    assert lanes[0].pieces == lanes[1].pieces == []
    assert len(said) == 1
