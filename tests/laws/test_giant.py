"""A ranking that no memory holds is computed in pieces: they change nothing but the last digits, however it is cut,
whatever ties lie across the cuts, and however little there is room for.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli.core import reference
from lapsum_cli.core.errors import BadRanking
from lapsum_cli.core.quantities import Alpha, K, Q
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.core.stored import put_away
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.kernels.cpu import bands
from lapsum_cli.operations import giant, operation_called
from lapsum_cli.operations.giant_loss import GRADES
from lapsum_cli.operations.losses import losses_of
from lapsum_cli.operations.pieces import OfArray, Stored, compute

CPU = Cpu()
TOLERANCE = {"float32": 3e-6, "float64": 1e-9}
SHAPES = {
    "any": lambda rng, n: rng.standard_normal(n),
    "coarse": lambda rng, n: np.round(rng.standard_normal(n)),
    "equal": lambda rng, n: np.full(n, 0.3),
    "rising": lambda rng, n: np.sort(rng.standard_normal(n)),
    "falling in steps": lambda rng, n: -np.sort(np.round(3 * rng.standard_normal(n))),
    "far apart": lambda rng, n: rng.standard_cauchy(n) * 10 ** rng.uniform(-3, 6),
}
TARGETS = {
    "grades": lambda rng, n: rng.integers(0, 5, n).astype(float),
    "few": lambda rng, n: (rng.random(n) < 0.02).astype(float),
    "any": lambda rng, n: rng.exponential(10.0, n),
    "like the scores": lambda rng, n: np.arange(n, dtype=float) // 3,
    "equal": lambda rng, n: np.full(n, 2.0),
}
LOSSES = {
    "topk": (K(0.3), K(7.0), K(1e9), K(0.0), K(12.5, True)),
    "recall": (K(0.3), K(7.0), K(1e9), K(0.0), K(12.5, True)),
    "spearman": (None,),
    "graded-topk": (None,),
    "ndcg": (None, K(7.0), K(40.0, True), K(1e9)),
    "permutation": (None,),
}
sizes = st.sampled_from([1, 7, 100, 1024])
held = st.sampled_from([3, 20, 100, 4000])


@st.composite
def rankings(draw):
    """One ranking, with an upstream gradient that may be near a constant."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.sampled_from([1, 2, 5, 40, 300, 3000]))
    x = SHAPES[draw(st.sampled_from(list(SHAPES)))](rng, n)
    for infinity in (-np.inf, np.inf):
        x[rng.random(n) < draw(st.sampled_from([0, 0, 0.3]))] = infinity
    v = rng.standard_normal(n) + draw(st.sampled_from([0, 50]))
    y = TARGETS[draw(st.sampled_from(list(TARGETS)))](rng, n)
    dtype = draw(st.sampled_from(["float32", "float64"]))
    return Rankings(x.astype(dtype), np.array([0, n]), {"upstream": v.astype(dtype), "target": y})


alphas = st.one_of(st.floats(1e-3, 1e2).map(Alpha), st.floats(1e-2, 2).map(lambda value: Alpha(value, "std")))


def agree(operation, x, size, held):
    """What comes of pieces, and of all at once; the tolerance of each slot is that of its largest value."""
    whole = operation.compute(x, CPU).values
    n = len(x.values)
    found = compute(operation, OfArray(x, max(size, n // 20), max(held, n // 100)), CPU).values
    assert list(found) == list(whole)
    finite = np.abs(x.values[np.isfinite(x.values)]).max(initial=0.0)
    for slot, wanted in whole.items():
        got = found[slot]
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), slot
        is_number = np.isfinite(wanted)
        np.testing.assert_array_equal(got[~is_number], wanted[~is_number])
        least = finite if slot.name in ("soft_sort", "threshold", "soft_quantile") else 0.0
        scale = max(np.abs(wanted[is_number]).max(initial=0.0), least, _least(operation, x, slot))
        np.testing.assert_allclose(got[is_number], wanted[is_number], rtol=0, atol=scale * TOLERANCE[x.dtype])


def _least(operation, x, slot):
    """Below which nothing of a slot is told: gradients cancel, and those for alpha are sums of such times scores; most
    losses are 1 less a sum.
    """
    if slot.name == "loss" and "topk" not in (slot.k, getattr(operation, "loss", None)):
        return 1.0
    if not slot.name.startswith("grad"):
        return 1e-30
    with np.errstate(over="ignore"):
        alpha = operation.ready(x, CPU).each["alpha"][0]
    pull = np.abs(x.beside["upstream"]).max(initial=0.0) if "upstream" in operation.takes else 1 / len(x.values)
    if slot.name == "grad_alpha":
        spread = np.ptp(x.values[np.isfinite(x.values)].astype(float)) if np.isfinite(x.values).any() else 0.0
        return pull * len(x.values) * min(1 + spread / alpha, 100) / alpha
    return pull * 1e-3 / alpha


@given(rankings(), alphas, st.booleans(), st.booleans(), st.booleans(), sizes, held)
def test_memberships_of_pieces(x, alpha, largest, log, gradient, size, held):
    n = len(x.values)
    operation = operation_called("topk")(
        alpha,
        largest,
        gradient,
        gradient,
        ks=(K(0.3 * n), K(40.0, True), K(1.0)),
        log=log,
        threshold=True,
        grad_k=gradient,
    )
    agree(operation, x, size, held)


@given(rankings(), alphas, st.booleans(), st.booleans(), st.sampled_from([0, 1]), sizes, held)
def test_ranks_of_pieces(x, alpha, descending, gradient, base, size, held):
    agree(operation_called("rank")(alpha, descending, gradient, gradient, base=base), x, size, held)


@given(rankings(), alphas, st.booleans(), st.booleans(), sizes, held)
def test_sorted_scores_of_pieces(x, alpha, descending, gradient, size, held):
    agree(operation_called("sort")(alpha, descending, gradient, gradient), x, size, held)


@given(rankings(), alphas, st.booleans(), st.booleans(), sizes, held)
def test_quantiles_of_pieces(x, alpha, descending, gradient, size, held):
    qs = Q(0.0), Q(0.3), Q(0.5), Q(1.0)
    operation = operation_called("quantile")(alpha, descending, gradient, gradient, qs=qs, grad_q=gradient)
    agree(operation, x, size, held)


@given(rankings(), alphas, sizes, held)
def test_magnitudes_of_pieces(x, alpha, size, held):
    agree(operation_called("topk")(alpha, gradient=True, ks=(K(2.0),), by="magnitude"), x, size, held)


@st.composite
def losses(draw):
    name = draw(st.sampled_from(list(LOSSES)))
    k, gradient = draw(st.sampled_from(LOSSES[name])), draw(st.booleans())
    ks = () if k is None else (k,)
    return losses_of(
        name, ks, alpha=draw(alphas), descending=draw(st.booleans()), gradient=gradient, grad_alpha=gradient
    )


@given(rankings(), losses(), sizes, held)
def test_losses_of_pieces(x, loss, size, held):
    taken = x.values != (-np.inf if loss.descending else np.inf)
    if "graded-topk" in loss.describe().get("loss", "") and len(np.unique(x.beside["target"][taken])) > GRADES:
        with pytest.raises(BadRanking, match="passes for every grade of its target, of which there are more than 100"):
            compute(loss, OfArray(x, max(size, 1000), held), CPU)
        return
    agree(loss, x, size, held)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("held", [1, 4, 50])
def test_places_of_pieces_are_those_of_the_definition(shape, target, held):
    """Ties of targets are larger than what is held, or lie within it; equal scores lie at one edge of all."""
    rng = np.random.default_rng(4)
    scores, y = SHAPES[shape](rng, 60), TARGETS[target](rng, 60)
    x = Rankings(scores, np.array([0, 60]), {"target": y})
    of_loss = losses_of("permutation", alpha=Alpha(0.3))
    [found] = compute(of_loss, OfArray(x, 11, held), CPU).values.values()
    if np.ptp(y) == 0:
        assert np.isnan(found[0])
        return
    if reference.permutation(scores, 0.3).min() > 1e-12:  # below which the definition has few digits, or none
        assert found[0] == pytest.approx(reference.permutation_loss(scores, y, 0.3), rel=1e-9)
    agree(losses_of("permutation", alpha=Alpha(0.3), gradient=True, grad_alpha=True), x, 11, held)


@pytest.mark.parametrize("held", [2, 30])
@pytest.mark.parametrize("least", [10, 11, 25])
def test_infinite_scores_have_places_of_their_own(least, held):
    """Of 25 that are at their end, the first of which have one target, with which that of finite ones may be tied."""
    rng = np.random.default_rng(5)
    scores, y = rng.standard_normal(60), rng.integers(0, 3, 60).astype(float)
    scores[:25], y[:25] = np.inf, np.where(np.arange(25) < least, 9.0, 8.0)
    moved = rng.permutation(60)
    for target in (y, np.where(y == 8.0, 2.0, y)):
        x = Rankings(scores[moved], np.array([0, 60]), {"target": target[moved]})
        [found] = compute(losses_of("permutation", alpha=Alpha(0.3)), OfArray(x, 11, held), CPU).values.values()
        assert np.isfinite(found[0]) == (target is y or least == 25)
        agree(losses_of("permutation", alpha=Alpha(0.3), gradient=True, grad_alpha=True), x, 11, held)


def test_targets_that_are_no_gains_are_refused_in_pieces():
    x = Rankings(np.arange(10.0), np.array([0, 10]), {"target": np.arange(10.0) - 1})
    with pytest.raises(BadRanking, match="ndcg needs targets of 0 or more, got -1"):
        compute(losses_of("ndcg"), OfArray(x, 4, 4), CPU)


def test_several_losses_of_pieces():
    """Of which the targets are a few grades, so that ties of places lie at cuts, in many pieces."""
    rng = np.random.default_rng(3)
    x = Rankings(rng.standard_normal(3000), np.array([0, 3000]), {"target": rng.integers(0, 3, 3000).astype(float)})
    for gradient in (False, True):
        agree(losses_of("ndcg,topk,spearman", (K(9.0),), gradient=gradient, grad_alpha=gradient), x, 100, 40)


def test_a_sample_that_misleads_costs_a_pass_and_no_digit():
    """Every score that the sample sees is one of few, and all others are far from these."""
    n, size = 40_000, 1000
    x = np.random.default_rng(0).standard_normal(n)
    seen = np.arange(size) * n // size + (np.arange(size) * 2654435761 >> 8) % (n // size)
    x[seen] = 1e3 + np.arange(size) % 3
    rankings = Rankings(x, np.array([0, n]), {"upstream": x})
    for kind, options in (("rank", {}), ("sort", {}), ("topk", {"ks": (K(2.0 * size),)})):
        agree(operation_called(kind)(Alpha(0.1), **options), rankings, 1000, size)


def test_a_band_without_room_is_cut_again():
    """Of a thousand scores in one band a sample of ten says where more cuts are to be."""
    x = np.random.default_rng(1).standard_normal(1000)
    work = bands.Work(lambda of, stores: put_away(of(0, x, None), stores), map, None, Stored, 1000, x.dtype, None, 100)
    made = bands.part(work, np.array([-np.inf, np.inf]), 1.0, 1.0)
    cuts = bands.more_cuts(made, 100, 1000)
    assert made.sizes.max() == 1000
    assert bands.part(work, cuts, 1.0, 1.0).sizes.max() <= 100


def test_what_needs_all_of_it_says_so():
    topk = operation_called("topk")(ks=(K(1.0),))
    for operation in (topk, losses_of("ndcg,topk", (K(3.0),), gradient=True)):
        assert giant.refusal(operation, "cpu") is None
    for operation, word in (
        (replace(topk, order=True), "order"),
        (replace(topk, alpha=Alpha(1.0, "mad")), "mad"),
        (replace(topk, method="sparse"), "sparse"),
        (operation_called("permute")(), "permute"),
        (operation_called("quantile")(qs=(Q(0.5),), method="hard"), "quantile by hard"),
        (losses_of("ranknet"), "loss ranknet"),
        (losses_of("ndcg,topk,listnet", (K(3.0),)), "loss listnet"),
    ):
        assert word in giant.refusal(operation, "cpu")
    assert "GPU" in giant.refusal(topk, "cuda")


def test_an_alpha_that_changes_from_piece_to_piece_is_refused():
    class Changing(OfArray):
        def pieces(self):
            for first, rankings in super().pieces():
                yield first, rankings.with_each({"alpha": np.array([1.0 + first])})

    x = Rankings(np.arange(10.0), np.array([0, 10]))
    with pytest.raises(BadRanking, match="alpha changes within it, from 1 to 9; it must be one value"):
        compute(operation_called("rank")(), Changing(x, 4, 4), CPU)


@pytest.mark.parametrize("shape", SHAPES)
def test_ties_take_one_rank_across_cuts(shape):
    x = np.round(SHAPES[shape](np.random.default_rng(2), 3000), 1)
    rank = operation_called("rank")(Alpha(0.1))
    [found] = compute(rank, OfArray(Rankings(x, np.array([0, 3000])), 100, 20), CPU).values.values()
    for value in np.unique(x):
        assert len(np.unique(found[x == value])) == 1
