"""`lapsum bench --calls`: what is timed, that it is checked, and the table; sizes and times of no account."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from benchcases import choice
from commands import run

import lapsum_cli
from lapsum_cli import run_file
from lapsum_cli.cli import bench as command
from lapsum_cli.core.errors import OptionError
from lapsum_cli.study.bench import calls, clock
from lapsum_cli.study.bench.calls import CALLS, FIRST_RUNS, CallBench, check_call
from lapsum_cli.study.bench.check import WrongResult
from lapsum_cli.study.bench.filecheck import check_table
from lapsum_cli.study.bench.peers import find_peers
from lapsum_cli.study.bench.sources import make_parquet
from lapsum_cli.study.bench.tables import duration

ALL = ("rank", "rank-gradient", "sort", "topk", "topk-gradient")
IN_PROCESS = [call for call in CALLS if "FILE" not in call.words]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(clock, "LEAST", 1e-4)


def bench_of(operations=ALL, cold=False, runs=2, **more):
    peers = find_peers([], ["calls"])
    return CallBench(choice(operations, [], **{"k": "10%", "alpha": 0.1, **more}), cold, None, peers, runs)


@pytest.mark.parametrize("call", IN_PROCESS, ids=lambda call: f"{call.operation} {call.shape} {call.unit}")
def test_a_call_is_checked_and_timed_beside_hard_ones(call):
    pytest.importorskip(call.module)
    bench = bench_of([call.operation])
    case = next(case for made, case in bench.cases() if made is call)
    found = call.timed(bench, case)
    assert list(found.sides) == ["lapsum", "torch" if call.module == "torch" else "numpy"]
    assert {len(times.seconds) for times in found.sides.values()} == {2}
    assert found.as_dict() | {"call": str(case), "unit": call.unit, "rankings": case.rankings} == found.as_dict()


def test_all_calls_are_of_operations_that_were_chosen_and_first_runs_are_asked_for():
    assert [call for call, _ in bench_of().cases()] == list(CALLS)
    assert [call for call, _ in bench_of(cold=True).cases()] == [*CALLS, *FIRST_RUNS]
    assert [str(case) for _, case in bench_of(["rank"], cold=True).cases()] == [
        "soft_rank of 4 scores, alpha 0.1",
        "soft_rank of 4 scores, alpha 0.1std",
        "lapsum rank FILE",
        "lapsum rank FILE, first run ever",
    ]
    assert [call.operation for call in FIRST_RUNS] == ["rank", "topk", "sort"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"operations": ["log-topk"]}, "--calls times topk, rank, topk-gradient, rank-gradient, sort, not log-topk"),
        ({"device": "cuda"}, "--calls times what is computed on the CPU; leave out --device cuda"),
    ],
)
def test_what_has_no_call_is_refused(given, words):
    with pytest.raises(OptionError, match=words):
        bench_of(**given)
    with pytest.raises(OptionError, match="--temp-dir /nowhere: no such directory"):
        replace(bench_of(), temp_dir="/nowhere")


@pytest.mark.parametrize("call", CALLS[:4], ids=lambda call: f"{call.operation} {call.unit}")
def test_a_wrong_result_is_never_timed(call, monkeypatch):
    bench = bench_of([call.operation], alpha=1.0, k="2")
    case = next(case for made, case in bench.cases() if made is call)
    k = {"k": 2} if call.operation == "topk" else {}
    x, function = case.inputs()[0], getattr(lapsum_cli, f"soft_{call.operation}")
    right, softer = (function(x, **k, alpha=f"{alpha}{call.unit}") for alpha in (1.0, 1.001))
    assert bench.in_turn(case, [x], lambda: (right,)).sides
    monkeypatch.setattr(calls, "take_turns", None)
    with pytest.raises(WrongResult, match=r"soft_\w+ of 4 scores.*no time is shown"):
        bench.in_turn(case, [x], lambda: (softer,))


@pytest.mark.parametrize("operation", ["rank", "topk", "sort"])
def test_the_file_of_a_process_is_checked(tmp_path, operation):
    case = next(case for call, case in bench_of([operation]).cases() if "FILE" in call.words)
    source, sink = tmp_path / "in.parquet", tmp_path / "out.parquet"
    make_parquet(source, case.shape)
    queries = pq.read_table(source)["qid"].to_numpy()
    np.testing.assert_array_equal(queries, case.shape.queries)
    options = {"k": "10%"} if operation == "topk" else {}
    for alpha, is_right in (("0.1std", True), ("0.12std", False)):
        run_file(operation, str(source), str(sink), alpha=alpha, force=True, **options)
        if is_right:
            check_table(case, source, sink, check_call)
        else:
            with pytest.raises(WrongResult):
                check_table(case, source, sink, check_call)


def test_the_least_time_of_many_counts():
    spent = []
    side = clock.least(lambda: spent.append(0))
    assert 0 < side().seconds < 1e-3
    assert len(spent) > 2
    assert side().memory is None


@pytest.mark.parametrize(
    ("given", "text"),
    [([57.13e-6], "57.1 µs"), ([5e-3, 6e-3], "5.00–6.00 ms"), ([1.5], "1.50 s"), ([0.0999, 1.2], "99.9–1200 ms")],
)
def test_durations_have_the_unit_that_suits_them(given, text):
    assert duration(*given) == text


def test_the_table_is_printed_and_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(calls, "CALLS", CALLS[:4])  # those that start no process
    kept = tmp_path / "KEPT.md"
    kept.write_text("<!-- bench:calls:begin -->\nold\n<!-- bench:calls:end -->\n")
    command.bench(["rank", "topk"], calls=True, runs=1, record=str(kept), output=str(tmp_path / "page.html"))
    printed = capsys.readouterr().out.rstrip("\n")
    head, _, *rows = printed.split("\n\n")[-1].splitlines()
    assert [cell.strip() for cell in head[1:-1].split("|")][:4] == ["call", "lapsum", "min–max", "peak MB"]
    assert [row[1:].split("|")[0].strip() for row in rows] == [
        f"soft_{operation} of 4 scores, alpha 0.1{unit}" for operation in ("topk", "rank") for unit in ("", "std")
    ]
    assert kept.read_text().splitlines()[1:-1] == printed.splitlines()
    assert "soft_topk of 4 scores, alpha 0.1std" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_processes_are_timed_warm_and_as_the_first_run_ever(tmp_path):
    """The first run finds a cache of kernels that is empty, whatever is compiled here: it takes longer."""
    done = run("bench", "--calls", "--cold", "rank", "--runs", "1", "--temp-dir", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    cases = {case["call"]: case["sides"] for case in json.loads(done.stdout)["cases"]}
    warm, first = cases["lapsum rank FILE"], cases["lapsum rank FILE, first run ever"]
    assert list(warm) == ["lapsum", "imports"]
    assert list(first) == ["lapsum"]
    assert first["lapsum"]["seconds"][0] > 2 * warm["lapsum"]["seconds"][0]
    assert list(tmp_path.iterdir()) == []
