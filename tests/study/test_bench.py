"""`lapsum bench` in memory: its table, what is timed, and what it refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from benchcases import choice
from commands import refusal, run

from lapsum_cli.core.errors import OptionError
from lapsum_cli.study.bench.peers import PEERS, find_peers
from lapsum_cli.study.bench.run import Bench
from lapsum_cli.study.bench.scores import SCORES, draw
from lapsum_cli.study.bench.shapes import parse_shape
from lapsum_cli.study.bench.timed import DTYPES, SHAPES, TIMED, UNEVEN


def table_of(stdout):
    """The rows of the last Markdown table, its head first, as lists of cells."""
    lines = [line for line in stdout.split("\n\n")[-1].splitlines() if not line.startswith("|-")]
    return [[cell.strip() for cell in line.strip("| \n").split("|")] for line in lines]


@pytest.mark.slow
def test_the_table_names_the_machine_and_has_a_row_for_each_operation_and_shape():
    done = run("bench", "rank", "topk", "--shape", "20x50", "--shape", "1x300", "--runs", "2", "--peers", "numpy")
    assert done.returncode == 0, done.stderr
    machine, conditions, _ = done.stdout.decode().split("\n\n")
    assert "cores" in machine
    assert "numpy" in machine
    assert "float32, normal scores, alpha 0.1, k 10%, threads used: 1; medians of 2 runs" in conditions
    head, *rows = table_of(done.stdout.decode())
    assert [row[:2] for row in rows] == [["rank", "20x50"], ["topk", "20x50"], ["rank", "1x300"], ["topk", "1x300"]]
    assert head[-1] == "× numpy (ms)"
    assert {len(row) for row in rows} == {len(head)}
    assert done.stderr == b""


@pytest.mark.slow
def test_what_varies_has_a_column():
    chosen = ("--dtype", "float32,float64", "--scores", "ties", "--scores", "uniform,sorted")
    done = run("bench", "topk", "--shape", "3x40", "--runs", "1", "--peers", "numpy", *chosen)
    assert done.returncode == 0, done.stderr
    head, *rows = table_of(done.stdout.decode())
    assert head[2:4] == ["dtype", "scores"]
    kinds = [[dtype, kind] for dtype in ("float32", "float64") for kind in ("ties", "uniform", "sorted")]
    assert [row[2:4] for row in rows] == kinds
    assert b"exempt" in done.stdout


def test_every_side_runs_as_often_as_asked():
    peers = find_peers(["numpy", "duckdb"], ["shapes"])
    [case] = Bench(choice(["topk"]), ["shapes"], peers, runs=3).run().cases
    assert list(case["sides"]) == ["lapsum", "memcpy", "numpy", "duckdb"]
    assert {len(times["seconds"]) for times in case["sides"].values()} == {3}
    assert case["bytes"] == 2 * 6 * 50 * 4


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells the peak of a part of a run")
def test_the_memory_of_a_call_is_what_it_adds():
    bench = Bench(choice(["topk"], ["1x1000000"], k="10%"), ["shapes"], find_peers(["numpy"], ["shapes"]), runs=1)
    [case] = bench.run().cases
    memory = {name: side["memory"] for name, side in case["sides"].items()}
    assert 3_900_000 < memory["lapsum"] < 40_000_000  # at least the result
    assert 7_900_000 < memory["numpy"] < 24_000_000  # int64 indices
    assert memory["memcpy"] < 1_000_000


def test_growth_doubles_the_ranking_and_not_the_work():
    cases = choice(["topk"], ["5x5000", "1x2100"], k="10%").growth_cases()
    assert [str(case.shape) for case in cases] == ["4x1024", "2x2048", "1x4096"]
    assert [case.k.value for case in cases] == [102.4, 204.8, 409.6]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sort-of",), "operation 'sort-of' is unknown; known are rank, rank-gradient, sort, topk"),
        (("--shape", "20"), "--shape must be rankings times scores, such as 10000x1000, got '20'"),
        (("--shape", "0x5"), "--shape must be rankings times scores, such as 10000x1000, got '0x5'"),
        (("--dtype", "float16"), "--dtype 'float16' is unknown; known are float32, float64"),
        (("--scores", "bimodal"), "--scores 'bimodal' is unknown; known are normal, uniform"),
        (("--alpha", "-1"), "alpha must be positive and finite, got -1"),
        (("--k", "ten"), "k must be a number such as 10, or a share such as 10%, got 'ten'"),
        (("topk", "--shape", "2x5", "--k", "5"), "k must be above 0 and below the 5 scores of a ranking, got 5"),
        (("--peers", "excel"), "--peers excel: unknown; known are numpy, scipy, torch"),
        (("--peers", "pyarrow"), "--peers pyarrow: has no part in shapes"),
        (("--growth", "--shape", "9x1000"), "--growth starts from rankings of 1024 scores; give a longer --shape"),
        (("--files", "--rows", "99"), "--rows must be from 100 to 1e+12, got 99"),
        (("--files", "--rows", "nan"), "--rows must be from 100 to 1e+12, got nan"),
        (("--files", "--temp-dir", "/nowhere"), "--temp-dir /nowhere: no such directory"),
        (("--files", "sort"), "--files times rank and topk, not sort"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(here, arguments, words):
    code, said = here("bench", *arguments)
    assert code == 2
    assert words in refusal(said.encode())


def test_help_names_all_that_can_be_asked_for_and_loads_none_of_it():
    program = (
        "import sys\nfrom lapsum_cli.cli.app import app\n"
        "try:\n    app(['bench', '--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'numpy', 'numba', 'pyarrow', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    *said, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    words = re.sub(r"(?<=-) (?=\w)", "", " ".join(" ".join(said).split()))  # names are broken at hyphens
    for table in (TIMED, SCORES, PEERS, DTYPES, UNEVEN, *SHAPES.values()):
        for name in table:
            assert re.search(rf"\b{name}\b", words), name


def test_scores_are_as_their_names_say():
    shape = parse_shape("2x50000")
    drawn = {kind: draw(kind, shape, "float32") for kind in SCORES}
    assert {scores.dtype for scores in drawn.values()} == {np.dtype("float32")}
    assert all(np.isfinite(scores).all() for scores in drawn.values())
    assert drawn["uniform"].min() >= 0
    assert drawn["uniform"].max() < 1
    assert np.abs(drawn["heavy"]).max() > 1e3 > 10 > np.abs(drawn["normal"]).max()
    assert np.unique(drawn["ties"]).size < 200
    assert (np.diff(drawn["sorted"], axis=1) >= 0).all()
    np.testing.assert_array_equal(drawn["heavy"], draw("heavy", shape, "float32"))


def test_bad_values_are_option_errors():
    with pytest.raises(OptionError, match="rankings times scores"):
        choice(shapes=["many"])
