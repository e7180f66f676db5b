"""`lapsum bench --shapes uneven`: how lengths are drawn, what is let pass and what is refused, and the table."""

import json

import numpy as np
import pytest
from benchcases import choice, uneven

from lapsum_cli.cli import bench as command
from lapsum_cli.core.errors import OptionError
from lapsum_cli.study.bench.cases import Case
from lapsum_cli.study.bench.check import WrongResult, check_output, check_peer
from lapsum_cli.study.bench.peers import PEERS, find_peers, parts_of
from lapsum_cli.study.bench.run import Bench
from lapsum_cli.study.bench.scores import SCORES, draw
from lapsum_cli.study.bench.shapes import LENGTHS, TOTAL, Even, parse_shape
from lapsum_cli.study.bench.timed import TIMED, UNEVEN

SMALL = [f"60x{name}" for name in ("geometric:4", "uniform:1-12", "lognormal:20", "zipf")]


@pytest.mark.parametrize("name", UNEVEN)
def test_lengths_are_as_their_name_says(name):
    shape, again = parse_shape(name), parse_shape(name)
    mean = {"geometric:10": 10, "uniform:1-60": 30.5, "lognormal:90": 90, "zipf": 7}[name]
    assert shape.total == pytest.approx(TOTAL, rel=0.1)
    assert shape.total / shape.rankings == pytest.approx(mean, rel=0.1)
    assert shape.sizes.min() == 1
    np.testing.assert_array_equal(shape.offsets, again.offsets)
    assert str(shape) == f"{shape.rankings}x{name}"
    assert parse_shape(str(shape)) == shape
    assert shape.evened.length == round(shape.total / shape.rankings)
    assert shape.evened.total == pytest.approx(shape.total, rel=1e-4)


def test_zipf_has_most_rankings_of_three_scores_and_a_few_of_many_thousands():
    sizes = parse_shape("zipf").sizes
    assert (sizes <= 3).mean() > 0.8
    assert 10 < (sizes > 10_000).sum() < 100
    assert parse_shape("uniform:1-60").longest == 60
    assert parse_shape("lognormal:90").longest <= 4000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("20", "such as 10000x1000, got '20'; lengths that are drawn are geometric:N, uniform:N-N"),
        ("0xzipf", "got '0xzipf'"),
        ("zipf:2", "got 'zipf:2'"),
        ("geometric", "got 'geometric'"),
        ("uniform:5", "got 'uniform:5'"),
        ("poisson:5", "got 'poisson:5'"),
        ("5xgeometric:1.5", "got '5xgeometric:1.5'"),
        ("geometric:0", "lengths must be from 1 to 4000000, the smaller first"),
        ("uniform:9-3", "lengths must be from 1 to 4000000, the smaller first"),
        ("lognormal:999999999", "lengths must be from 1 to 4000000, the smaller first"),
    ],
)
def test_a_shape_that_is_none_is_refused(text, words):
    with pytest.raises(OptionError, match=words):
        parse_shape(text)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shapes": ["odd"]}, "--shapes 'odd' is unknown; known are even, uneven"),
        ({"shapes": ["uneven"], "shape": ["20x5"]}, "--shapes uneven has no part for --shape 20x5; give geometric:10"),
        ({"shapes": ["even"], "shape": ["zipf"]}, "--shapes has no part for --shape zipf; give one such as 10000x1000"),
        ({"growth": True, "shape": ["zipf"]}, "--growth has no part for --shape zipf"),
        ({"shapes": ["uneven"], "peers": ["torch"]}, "--peers torch: has no part in uneven"),
        ({"shapes": ["even"], "peers": ["pandas"]}, "--peers pandas: has no part in shapes"),
        ({"operations": ["topk"], "shape": ["9xgeometric:4"], "k": "4"}, "k must be above 0 and below the 3 scores"),
        ({"cold": True}, "--cold adds first runs to --calls; give both"),
    ],
)
def test_what_does_not_fit_is_refused(given, words):
    with pytest.raises(OptionError, match=words):
        command.bench(**given)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--shapes", "--shapes even"),
        ("--shapes uneven", "--shapes uneven"),
        ("--shapes rank --growth", "--shapes even rank --growth"),
        ("--shapes even,uneven rank", "--shapes even,uneven rank"),
        ("--shapes uneven --shapes", "--shapes uneven --shapes even"),
        ("--shapes odd", "--shapes odd"),
        ("rank --growth", "rank --growth"),
        ("", ""),
    ],
)
def test_shapes_without_a_word_are_even_ones(typed, meant):
    assert command.with_words(typed.split(), {"--shapes", "--growth"}) == meant.split()
    assert command.with_words(typed.split(), set()) == typed.split()  # of a command that has no such option


@pytest.mark.parametrize("kind", SCORES)
def test_scores_are_drawn_for_each_ranking(kind):
    shape = parse_shape("60xzipf")
    scores = draw(kind, shape, "float32")
    assert scores.shape == (shape.total,)
    if kind == "sorted":
        assert all((np.diff(part) >= 0).all() for part in np.split(scores, shape.offsets[1:-1]))
        assert (np.diff(scores) < 0).any()


@pytest.mark.parametrize("operation", TIMED)
@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize(
    ("dtype", "alpha", "k"), [("float32", 0.1, "10%"), ("float64", 1e-10, "2.5"), ("float32", 9.0, "3")]
)
def test_right_outputs_pass(operation, shape, dtype, alpha, k):
    check_output(*uneven(operation, shape, dtype, alpha=alpha, k=k))


@pytest.mark.parametrize("operation", TIMED)
@pytest.mark.parametrize("at", ["first", "longest", "last"])
def test_one_value_that_is_off_is_refused(operation, at):
    case, inputs, outputs = uneven(operation)
    r = {"first": 0, "longest": int(np.argmax(case.shape.sizes)), "last": case.rankings - 1}[at]
    outputs[-1][case.shape.offsets[r]] += 1e-2
    with pytest.raises(WrongResult, match="no time is shown"):
        check_output(case, inputs, outputs)


@pytest.mark.parametrize("operation", ["rank", "rank-gradient", "topk", "topk-gradient", "log-topk"])
def test_every_ranking_is_looked_at_by_its_sum(operation):
    case, inputs, outputs = uneven(operation)
    r = 7  # whose values are not compared
    outputs[-1][case.shape.offsets[r]] += 0.5
    with pytest.raises(WrongResult, match=f"ranking {r} "):
        check_output(case, inputs, outputs)


def test_results_of_other_boundaries_are_refused():
    """As a kernel makes them that takes the end of one ranking for the start of the next."""
    case, [scores], _ = uneven("rank")
    offsets = case.shape.offsets + np.r_[0, np.ones(case.rankings - 1, np.int64), 0]
    other = Case.outputs(case, scores)
    case.shape.__dict__["offsets"] = offsets
    wrong = case.outputs(scores)
    del case.shape.__dict__["offsets"]
    check_output(case, [scores], other)
    with pytest.raises(WrongResult):
        check_output(case, [scores], wrong)


OF_PEERS = [(peer, operation) for name in PEERS for peer in parts_of(name) for operation in peer.work("uneven")]


@pytest.mark.parametrize(("peer", "operation"), OF_PEERS, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("shape", SMALL)
def test_hard_sides_are_right_of_every_shape(peer, operation, shape):
    pytest.importorskip(peer.module)
    for kind in ("normal", "ties"):
        case, inputs, _ = uneven(operation, shape, scores=kind)
        check_peer(case, peer.name, inputs[0], peer.work("uneven")[operation](case, *inputs))


@pytest.mark.parametrize(("peer", "operation"), OF_PEERS, ids=lambda value: getattr(value, "name", value))
def test_wrong_outputs_of_peers_are_refused(peer, operation):
    pytest.importorskip(peer.module)
    case, [scores], _ = uneven(operation)
    right = np.array(peer.work("uneven")[operation](case, scores))
    ascending = np.asarray(peer.work("uneven")[operation](case, -scores))
    for wrong in (right[:-1], ascending, np.roll(right, 1)):
        with pytest.raises(WrongResult, match=f"{peer.name}.*no time is shown"):
            check_peer(case, peer.name, scores, wrong)


def test_a_wrong_output_is_never_timed(monkeypatch):
    [numpy] = find_peers(["numpy"], ["uneven"])
    bench = Bench(choice(["rank"], [SMALL[0]], k="10%"), ["uneven"], [numpy], runs=1)
    assert len(bench.run().cases) == 1
    monkeypatch.setitem(numpy.file.UNEVEN, "rank", lambda case, scores: np.argsort(-scores) + 1)
    with pytest.raises(WrongResult, match=r"numpy, .*sum of ranking 0"):
        bench.run()
    monkeypatch.undo()
    even = Case.outputs
    monkeypatch.setattr(
        Case, "outputs", lambda case, *given: [o + isinstance(case.shape, Even) for o in even(case, *given)]
    )
    with pytest.raises(WrongResult, match=r"rank \d+x4 .*sum of ranking 0"):  # of the even shape beside it
        bench.run()


def test_the_table_has_even_rankings_and_hard_ranks_beside_uneven_ones(capsys, tmp_path):
    kept = tmp_path / "KEPT.md"
    kept.write_text("<!-- bench:uneven:begin -->\nold\n<!-- bench:uneven:end -->\n")
    chosen = {"shape": SMALL, "peers": ["numpy", "polars", "pandas"], "runs": 1}
    for module in ("polars", "pandas"):
        pytest.importorskip(module)
    command.bench(["rank", "topk"], **chosen, record=str(kept), output=str(tmp_path / "page.html"))
    printed = capsys.readouterr().out.rstrip("\n")
    _, note, table = printed.split("\n\n")
    assert "even is lapsum on as many scores in rankings of their mean length; float32, normal" in note
    head, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines())
    assert head[:4] == ["operation", "shape", "lapsum ns", "min–max"]
    assert head[-5:] == ["× memcpy", "× even (ns)", "× numpy (ns)", "× polars (ns)", "× pandas (ns)"]
    assert [row[:2] for row in rows] == [[operation, shape] for shape in SMALL for operation in ("rank", "topk")]
    assert all(row[-4] and row[-3] for row in rows)
    assert [row[-1] != "" for row in rows] == [True, False] * len(SMALL)
    assert kept.read_text().splitlines()[1:-1] == printed.splitlines()
    assert "rank 60xzipf" in (tmp_path / "page.html").read_text()
    command.bench(["topk"], **chosen, as_json=True)
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert [(case["kind"], case["rankings"], case["length"], case["k"]) for case in cases] == [
        ("uneven", 60, shape.partition("x")[2], "10%") for shape in SMALL
    ]
    assert list(cases[0]["sides"]) == ["lapsum", "memcpy", "even", "numpy"]


def test_every_way_to_draw_lengths_is_one_that_is_timed():
    assert [name.partition(":")[0] for name in UNEVEN] == list(LENGTHS)
    assert [str(case.shape) for case in choice(["rank"], []).uneven_cases()] == [str(parse_shape(n)) for n in UNEVEN]
    assert choice(["rank"], ["4x5", *SMALL]).kinds() == ["shapes", "uneven"]
    assert choice(["rank"], []).kinds() == ["shapes"]
