"""Kernels for GPUs against the CPU's and against the definition: on a card where one works, else in the simulator.

The simulator runs every line of a kernel in Python, a thread of a block after another, so blocks are made small there:
rankings of a few scores then take the ways of long ones.
"""

from dataclasses import replace

import numpy as np
import pytest
from cardcases import (
    HAVE_THRESHOLDS,
    KINDS,
    LENGTHS,
    METHODS,
    TOLERANCE,
    agree,
    both,
    by_method,
    rankings_of,
    rows_of,
    upstream_of,
)
from onecard import IS_SIMULATED, counting_lane, run_every_operation

import lapsum_cli as lapsum
from lapsum_cli import Loss, Permute, Rank, Sort, TopK, devices
from lapsum_cli.core import reference
from lapsum_cli.core.errors import BadRanking
from lapsum_cli.core.quantities import Alpha, K
from lapsum_cli.core.rankings import Rankings
from lapsum_cli.devices import pieces
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.operations import LOSSES, METRICS
from lapsum_cli.operations.slots import RANKING
from lapsum_cli.operations.stages import STAGE

# A GPU warns of no overflow and no NaN. NumPy does, in whose scalars the simulator computes.
pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore::RuntimeWarning")]

NO_RACES = pytest.mark.usefixtures("no_races")  # of loops of teams, which speak through the memory of a card


@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
@pytest.mark.parametrize("operation", [Rank, Sort])
def test_ranks_and_sorts_and_their_gradients(operation, dtype, descending, kind):
    rows = rows_of(dtype, kind)
    rankings = rankings_of(rows, np.geomspace(1e-3, 10, len(rows)), upstream=upstream_of(rows, dtype))
    operation = operation(descending=descending, gradient=True, grad_alpha=True)
    agree(*both(operation, rankings), dtype)


@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
@pytest.mark.parametrize("log", [False, True])
def test_memberships_and_their_gradients(dtype, descending, kind, log):
    rows = rows_of(dtype, kind)
    alphas = np.geomspace(10, 1e-2, len(rows))
    # None, all, a fraction, most of them.
    ks = np.array([(0.3, 0, n, 1.5, 0.25 * n, n / 2, 0.9 * n)[i % 7] for i, n in enumerate(map(len, rows))])
    options = {"descending": descending, "log": log, "ks": (K(1.0),), "threshold": True}
    operation = TopK(**options, gradient=True, grad_alpha=True, grad_k=True)
    card, cpu = both(operation, rankings_of(rows, alphas, ks, upstream=upstream_of(rows, dtype)))
    is_float32 = dtype == "float32"  # whose gradients cancel, as do the logarithms of its distances
    agree(card, cpu, dtype, 10 if log and is_float32 else 1, of_gradients=10 if is_float32 else 1)


@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("method", METHODS)
@NO_RACES
def test_memberships_by_other_methods_and_their_gradients(method, dtype, descending, kind, log):
    rows = rows_of(dtype, kind, LENGTHS if IS_SIMULATED else LENGTHS[:-1])
    alphas = np.geomspace(10, 1e-2, len(rows))
    ks = np.array([(0.3, 0, n, 1.5, 0.25 * n, n / 2, 0.9 * n)[i % 7] for i, n in enumerate(map(len, rows))])
    rankings = rankings_of(rows, alphas, ks, upstream=upstream_of(rows, dtype))
    given = {"gradient": True, "grad_alpha": True, "grad_k": True, "threshold": method in HAVE_THRESHOLDS}
    card, cpu = both(by_method(method, descending=descending, log=log, **given), rankings)
    members = next(iter(cpu.values.values()))
    is_softened = np.ptp(np.exp(members) if log else members) > 0.1
    assert is_softened or (method, kind) == ("threshold", "shifted")  # whose gates see the shift
    agree(card, cpu, dtype, of_gradients=10)


def test_other_methods_across_a_wide_gap():
    """Where all memberships are 0 or 1 but for what no float adds to 1, on either side."""
    rows = [np.array([0.0, 1e-9, 2e-9, 50.0, 50 + 1e-9]), np.array([-40.0, np.inf, 30.0, -np.inf, 31.0, 29.5])]
    rankings = rankings_of(rows, np.full(2, 1e-3), np.array([2.0, 3.0]), upstream=np.linspace(-1, 1, 11))
    for method in METHODS:
        for log in (False, True):
            agree(*both(by_method(method, log=log, gradient=True), rankings), "float64", 10)


@pytest.mark.parametrize("method", METHODS)
def test_what_other_methods_refuse_of_scores_on_the_card(method):
    """A NaN of what is seen there alone is for whoever does not wait."""
    from lapsum_cli.kernels.cuda import adapter

    on, operation = devices.lane(), by_method(method)

    def of(values, operation=operation, **each):
        return on.compute(operation, Rankings(adapter.to_card(values), np.array([0, 2, 5]), {}, each))

    values = np.array([1.0, 2.0, -np.inf, 1e200, 3.0])
    with pytest.raises(BadRanking, match=r"a score of 1e\+200 is too large") as error:
        of(values)
    assert error.value.ranking == 1
    with pytest.raises(BadRanking, match=r"an alpha of 1e-200 is too near an end"):
        of(np.ones(5), alpha=adapter.to_card(np.array([1.0, 1e-200])))
    with pytest.raises(BadRanking, match=r"an alpha of 1.5e\+156 is too near an end"):
        of(1e148 * np.arange(5.0), replace(operation, alpha=Alpha(3e8, "std")))
    [members] = of(np.where(values == 1e200, 1e140, values)).values.values()
    assert np.isfinite(members.copy_to_host()).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_those_of_the_definition(dtype):
    x = rows_of(dtype, "normal", (70 if IS_SIMULATED else 5000,))[0]
    n, alpha, k = len(x), 0.2, 0.3 * len(x)
    tolerance = TOLERANCE[dtype] * n * 0.1
    ranks = lapsum.soft_rank(x, alpha=alpha, device="cuda")
    assert np.ptp(ranks - reference.hard_rank(x)) > 0.1  # softness matters
    np.testing.assert_allclose(ranks, reference.rank(x, alpha), rtol=0, atol=tolerance)
    p = lapsum.soft_topk(x, k, alpha=alpha, device="cuda")
    np.testing.assert_allclose(p, reference.topk(x, k, alpha), rtol=0, atol=TOLERANCE[dtype])
    values = lapsum.soft_sort(x, alpha=alpha, device="cuda")
    np.testing.assert_allclose(values, reference.sort(x, alpha), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS[:2])
@NO_RACES
def test_losses_and_their_gradients(loss, dtype, descending, kind):
    long = 1000 if LOSSES[loss].is_square else 20_000
    rows = rows_of(dtype, kind, (2, 5, 9 if LOSSES[loss].is_square else 33) if IS_SIMULATED else (2, 5, 33, 900, long))
    target = np.random.default_rng(2).integers(0, 4, sum(map(len, rows))).astype(float)
    target[[0, 2]] = 5  # none is constant
    ks = None if LOSSES[loss].k == "none" else np.array([max(1.0, len(x) / 4) for x in rows])
    beside = {STAGE: np.concatenate(rows)[::-1].copy()} if LOSSES[loss].stages > 1 else {}
    rankings = rankings_of(rows, np.geomspace(0.1, 1, len(rows)), ks, target=target, **beside)
    given = {"gradient": True, "grad_alpha": True, "stages": ("a", "b") if beside else ()}
    results = both(Loss(loss=loss, descending=descending, **given), rankings)
    np.testing.assert_allclose(results[0].losses, results[1].losses, rtol=1e-12)
    agree(*results, dtype)


def test_noise_goes_by_the_number_of_a_ranking_in_the_call(monkeypatch):
    """However it is cut into pieces."""
    rows = rows_of("float64", "normal", (5, 7, 6, 9))
    rankings = rankings_of(rows, np.ones(4), np.full(4, 2.0), target=np.arange(27.0))
    monkeypatch.setattr(pieces, "PIECE", 8)
    card, cpu = both(Loss(loss="topk-hinge"), rankings)
    np.testing.assert_allclose(card.losses, cpu.losses, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS[:3])
@NO_RACES
def test_metrics(metric, dtype, descending, kind):
    rows = rows_of(dtype, kind, (1, 2, 5, 33) if IS_SIMULATED else (1, 2, 5, 33, 1000, 10_000))
    target = np.random.default_rng(2).integers(0, 3, sum(map(len, rows))).astype(float)
    ks = np.array([max(1.0, len(x) / 4) for x in rows]) if METRICS[metric].k == "needed" else None
    card, cpu = both(Loss(loss=metric, descending=descending), rankings_of(rows, np.ones(len(rows)), ks, target=target))
    np.testing.assert_allclose(card.losses, cpu.losses, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
def test_permutations(dtype, descending, kind):
    rows = rows_of(dtype, kind, (1, 6, 20))
    results = both(Permute(descending=descending), rankings_of(rows, np.array([0.1, 0.5, 2.0])))
    [card], [cpu] = (result.values.values() for result in results)
    np.testing.assert_array_equal(card.at.spans, cpu.at.spans)
    for r, n in enumerate(map(len, rows)):
        expected = cpu.dense(r, 0, n)
        np.testing.assert_allclose(card.dense(r, 0, n), expected, rtol=0, atol=TOLERANCE[dtype])
    x = np.stack([rows[2], rows[2][::-1]])
    gpu, alphas = devices.lane(), np.array([0.5, 2.0])
    on_card = Rankings(gpu.place.put(x.reshape(-1)), np.array([0, 20, 40]), {}, {"alpha": alphas})
    ready = Permute(descending=descending).ready(on_card, gpu)
    matrices = gpu.kernels.permute.dense(gpu.kernels.order.Order(gpu.place, ready, descending), alphas)
    expected = lapsum.soft_permutation(x, alpha=alphas, descending=descending)
    np.testing.assert_allclose(gpu.place.get(matrices), expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("unit", ["std", "iqr", "mad"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_alpha_in_a_spread_of_each_ranking(dtype, unit):
    rows = [*rows_of(dtype, "infinite", (2, 7, 70)), np.full(9, 3, dtype), np.array([1e30, -1e30, 0], dtype)]
    operation = Rank(alpha=Alpha(0.3, unit), gradient=True, grad_alpha=True)
    card, cpu = both(operation, rankings_of(rows, upstream=upstream_of(rows, dtype)))
    agree(card, cpu, dtype)
    _, gradient, to_alpha = card.values.values()
    constant = slice(79, 88)
    assert not gradient[constant].any()
    assert to_alpha[3] == 0


@pytest.mark.parametrize("alpha", [1e-300, 1e-40, 1e-6, 1e6, 1e39])
def test_no_alpha_overflows(alpha):
    rows = rows_of("float32", "normal", (5, 33))
    for operation in (Rank(), Sort(), TopK(ks=(K(2.5),))):
        agree(*both(operation, rankings_of(rows, np.full(2, alpha))), "float32")


def test_the_same_twice_and_beside_other_rankings_to_the_bit(monkeypatch):
    rows = rows_of("float64", "normal", (1, 5, 33, 70) if IS_SIMULATED else LENGTHS)
    ks = np.array([0.4 * len(x) for x in rows])
    rankings = rankings_of(rows, np.full(len(rows), 0.3), ks, upstream=upstream_of(rows, "float64"))
    operations = [Rank(gradient=True), TopK(ks=(K(1.0),), gradient=True)]
    operations += [by_method(method, gradient=True) for method in METHODS]
    first = [both(operation, rankings)[0] for operation in operations]
    again = [both(operation, rankings)[0] for operation in operations]
    monkeypatch.setattr(pieces, "PIECE", 40)
    in_pieces = [both(operation, rankings)[0] for operation in operations]
    for a, b, c in zip(first, again, in_pieces, strict=True):
        for slot, values in a.values.items():
            np.testing.assert_array_equal(values, b.values[slot])
            np.testing.assert_array_equal(values, c.values[slot])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("log", [False, True])
def test_a_long_top_k_of_nothing_of_all_and_of_more(dtype, log):
    rows = rows_of(dtype, "normal", (70 if IS_SIMULATED else 50_000,) * 4)
    rows[3][::3] = np.inf
    ks = np.array([0.0, 1.0, 1.0, 1.0]) * [len(x) for x in rows] + [0, 0, 1, 0]
    operation = TopK(log=log, ks=(K(1.0),), threshold=True, gradient=True, grad_alpha=True, grad_k=True)
    card, cpu = both(operation, rankings_of(rows, np.full(4, 0.05), ks, upstream=upstream_of(rows, dtype)))
    agree(card, cpu, dtype)


def test_a_long_top_k_is_narrowed_down():
    """Else the tests above would not have tried it."""
    from lapsum_cli.kernels.cuda import adapter, narrowing, topk

    n = 300 if IS_SIMULATED else 3_000_000
    x, lane = rows_of("float64", "normal", (n,))[0], adapter.Lane()
    p, _ = topk.soft_topk(lane, Rankings(x, np.array([0, n])), np.array([0.3 * n]), np.array([0.01]))
    state = lane.get(lane.room("state", (1, narrowing.STATE), np.float64))[0]
    assert state[narrowing.LEVEL] > 0
    assert state[narrowing.SIZE] < n / 4
    assert lane.get(p).sum() == pytest.approx(0.3 * n, rel=1e-12)


def test_a_sample_that_misleads_costs_time_and_no_digit(monkeypatch):
    from lapsum_cli.kernels.cuda import adapter, narrowing, topk

    monkeypatch.setattr(narrowing, "DEVIATIONS", -3.0)  # brackets that miss, mostly
    x = rows_of("float64", "normal", (150 if IS_SIMULATED else 100_000,))[0]
    n, lane = len(x), adapter.Lane()
    p, _ = topk.soft_topk(lane, Rankings(x, np.array([0, n])), np.array([0.3 * n]), np.array([0.1]))
    np.testing.assert_allclose(lane.get(p), lapsum.soft_topk(x, 0.3 * n, alpha=0.1), rtol=0, atol=1e-12)


def test_masked_scores_below_every_threshold_have_gradient_0():
    rankings = rankings_of([[1.0, 2.0, -np.inf]], np.ones(1), np.array([1.9]), upstream=np.array([3.0, 4.0, 5.0]))
    for log in (False, True):
        operation = TopK(ks=(K(1.0),), log=log, gradient=True, grad_alpha=True, grad_k=True)
        agree(*both(operation, rankings), "float64")


def test_empty_batches():
    for rows in ([], [np.empty(0)]):
        by_methods = [by_method(method, gradient=True) for method in METHODS]
        for operation in (Rank(gradient=True), Sort(), TopK(ks=(K(1.0),), gradient=True), *by_methods):
            agree(*both(operation, rankings_of(rows, upstream=np.empty(0))), "float64")


def test_every_kernel_is_launched_by_some_operation():
    """And so by the tests above, and by what compiles each for several cards."""
    from lapsum_cli.kernels import cuda

    launched = set()
    lane = counting_lane(lambda function, *rest: launched.add(function))
    run_every_operation(lane, np.array([0, 5, 10, 15]), np.float32)
    run_every_operation(lane, np.array([0, 200 if IS_SIMULATED else 100_000]), np.float64)
    run_every_operation(lane, np.array([0, 3]), np.float64)
    modules = [getattr(cuda, name) for name in cuda.__all__]
    made = {k for module in modules for k in vars(module).values() if type(k) is type(cuda.tiles._clear)}
    kernels = {k for k in made if not getattr(k, "targetoptions", {}).get("device")}  # not what they call
    assert kernels - launched == set()


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(
    "operation",
    [Sort(), Rank(), TopK(ks=(K(50, True),)), *(by_method(method, (K(50, True),)) for method in METHODS)],
)
def test_padding_of_scores_that_are_on_the_card(operation, descending):
    from lapsum_cli.kernels.cuda import adapter

    here = rankings_of(rows_of("float64", "infinite"))
    operation = replace(operation, descending=descending)
    there = devices.lane().compute(operation, Rankings(adapter.to_card(here.values), here.offsets))
    want = devices.choose("cpu", 1).compute(operation, here)
    for got, expected in zip(there.values.values(), want.values.values(), strict=True):
        np.testing.assert_allclose(got.copy_to_host(), expected, rtol=1e-12, atol=1e-13)  # sorted scores next to 0


def short_rows(dtype, kind, walk):
    """Uneven rankings about the lengths where a ranking changes hands; scores that tie and infinite ones among them."""
    rng = np.random.default_rng(3)
    borders = [0, 1, 2, 3, walk - 1, walk, walk + 1, walk + 2]
    lengths = [*borders, *rng.integers(0, walk + 1, 3 * walk), 0, walk, *borders[::-1]]
    rows = rows_of(dtype, kind, lengths)
    if kind == "infinite":
        rows += [np.array(row, dtype) for row in ([np.inf], [-np.inf, np.inf], [np.inf, np.inf, 1, -np.inf][:walk])]
    return rows


@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
def test_short_and_uneven_rankings(dtype, descending, kind):
    from lapsum_cli.kernels.cuda import tiles

    rows = short_rows(dtype, kind, tiles.WALK)
    rankings = rankings_of(rows, np.geomspace(1e-3, 10, len(rows)), upstream=upstream_of(rows, dtype))
    # At an alpha of 1e-3 a gradient for alpha is made of products a thousand times as large as those for the scores.
    agree(*both(Rank(descending=descending, gradient=True, grad_alpha=True), rankings), dtype, of_gradients=10)
    agree(*both(Sort(descending=descending), rankings), dtype)


@pytest.mark.parametrize(("dtype", "descending", "kind"), KINDS)
def test_soft_sorts_without_a_gradient(dtype, descending, kind):
    """They go other ways: a ranking of one tile by itself, others with all that is known of their scores."""
    rows = rows_of(dtype, kind)
    rankings = rankings_of(rows, np.geomspace(1e-3, 10, len(rows)))
    agree(*both(Sort(descending=descending), rankings), dtype)


@pytest.mark.parametrize("kind", ["ties", "infinite"])
def test_short_rankings_in_other_company_to_the_bit(kind):
    """In another thread of another block, beside others: each ranking is its own sum in its own order."""
    from lapsum_cli.kernels.cuda import tiles

    rows = short_rows("float64", kind, tiles.WALK)
    ends, alphas = np.cumsum(list(map(len, rows))), np.arange(1.0, len(rows) + 1) / 9
    upstream = np.split(upstream_of(rows, "float64"), ends[:-1])
    chosen = [i for i in range(len(rows)) if i % 3 != 1][::-1]

    def of(numbers):
        beside = {"upstream": np.concatenate([upstream[i] for i in numbers])}
        there = rankings_of([rows[i] for i in numbers], alphas[numbers], **beside)
        operations = (Rank(gradient=True, grad_alpha=True), Sort())
        found = [devices.card(Cpu()).compute(operation, there).values for operation in operations]
        slots = [slot for values in found for slot in values.items()]
        ends = there.offsets[1:-1]
        return [values if slot.per == RANKING else np.split(values, ends) for slot, values in slots]

    for together, apart in zip(of(list(range(len(rows)))), of(chosen), strict=True):
        for at, i in enumerate(chosen):
            np.testing.assert_array_equal(together[i], apart[at])


def test_a_tie_over_several_tiles_has_one_rank():
    from lapsum_cli.kernels.cuda import tiles

    x = np.repeat([2.0, 1.0, 0.0, -np.inf], [5, 3 * tiles.TILE, 4, 2 * tiles.TILE])
    x = np.random.default_rng(0).permutation(x)
    card, cpu = both(Rank(), rankings_of([x], np.array([0.3])))
    agree(card, cpu, "float64")
    [ranks] = card.values.values()
    assert all(len(np.unique(ranks[x == value])) == 1 for value in np.unique(x))


def test_scores_and_keys_of_one_order_take_turns():
    from lapsum_cli.kernels.cuda import adapter, order, rank, sort

    lane, x = adapter.Lane(), np.array([3.0, -np.inf, -0.0, 0.0, 2.0, np.inf])
    best_first, alphas = order.Order(lane, Rankings(x, np.array([0, 6]))), np.array([0.5])
    ranks = lane.get(rank.soft_rank(best_first, alphas)[0])
    lane.get(sort.soft_sort(best_first, alphas)[0])
    np.testing.assert_array_equal(lane.get(best_first.sorted()[0]), np.sort(x)[::-1])
    np.testing.assert_array_equal(lane.get(rank.soft_rank(best_first, alphas)[0]), ranks)
