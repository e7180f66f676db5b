"""What a process says of what it cannot use, and what is said of devices that are not there."""

import re
from types import SimpleNamespace

import pytest
from commands import contents, parquet, refusal, run

from lapsum_cli import devices
from lapsum_cli.devices import machine

PROCESSES = [
    (("rank", "missing.parquet", "-o", "out.csv"), 66, "missing.parquet: no such file"),
    (("rank", "in.parquet", "--alpha", "0", "-o", "out.csv"), 2, "alpha must be positive"),
    (("rank", "in.parquet", "-q", "-o", "in.parquet"), 73, "in.parquet: exists already"),
    (("topk", "in.parquet", "-q", "--k", "3", "--strict-k", "-o", "out.csv"), 65, "row 4"),
]


@pytest.mark.parametrize(("args", "code", "words"), PROCESSES)
def test_a_process_says_the_same(tmp_path, args, code, words):
    parquet(tmp_path / "in.parquet", qid=[7, 7, 7, 8, 8, 9], score=[3.0, 1.0, 2.0, 1.0, 2.0, 5.0])
    before = contents(tmp_path)
    done = run(*args, cwd=tmp_path)
    assert done.returncode == code
    assert words in refusal(done.stderr)
    assert done.stdout == b""
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("rnak", "in.csv"), "no such command 'rnak'; is 'rank' meant\\?; try .* -h"),
        (("rank", "in.csv", "--alpha"), "--alpha needs a value; try .* rank -h"),
        (("rank",), "name a file to read, such as lapsum rank scores.parquet; try lapsum rank -h"),
        (("loss", "in.csv"), "no loss 'in.csv'; name one of spearman, .*: lapsum loss ndcg FILE --target COLUMN"),
        (("loss",), "name one of spearman, "),
    ],
)
def test_what_is_typed_wrong_is_a_line_that_says_where_to_look(tmp_path, args, words):
    done = run(*args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert re.match(f"lapsum: {words}", refusal(done.stderr)), done.stderr


@pytest.mark.parametrize(
    ("installed", "driver", "words"),
    [
        (None, (None, 0), "needs the packages of the extra cuda; pip install 'lapsum-cli[cuda]'"),
        (True, (None, 0), "no NVIDIA driver answers here"),
        (True, (12080, 1), "the NVIDIA driver supports CUDA 12.8, and 13 is needed; update the driver"),
        (True, (13000, 0), "the NVIDIA driver finds no GPU that may be used"),
    ],
)
def test_a_gpu_that_is_not_there(lapsum, monkeypatch, tmp_path, installed, driver, words):
    (tmp_path / "x.csv").write_text("score\n1\n2\n")
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(machine, "find_spec", lambda name: installed)
    monkeypatch.setattr(machine, "driver", lambda: driver)
    code, line = lapsum("rank", "x.csv", "-o", "y.csv", "--device", "cuda")
    assert code == 69
    assert words in line
    assert devices.choose("auto", 1).name == "cpu"


def test_a_gpu_that_works_is_named_with_the_cuda_version_of_its_driver(monkeypatch):
    card = SimpleNamespace(compute_capability=lambda: (9, 0), IS_SIMULATED=False)
    monkeypatch.setattr(devices, "_adapter", lambda: card)
    monkeypatch.setattr(devices, "driver", lambda: (13020, 1))
    assert devices.cuda() == "a kernel runs; compute capability 9.0, driver for CUDA 13.2"
