"""Words are a courtesy: what cannot be said stops nothing, goes nowhere else, and moves no cursor."""

import os
import shlex
import stat
import subprocess

import numpy as np
import pytest
from commands import LAPSUM, contents, refusal, run

pytestmark = pytest.mark.faults
COMMAND = shlex.join(LAPSUM)
ENDS = {"closed": "2>&-", "full": "2>/dev/full", "nobody reads": "2> >(exec true)"}


def shell(script: str, cwd) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", script], cwd=cwd, capture_output=True, timeout=120)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in.csv").write_text("qid,score\n1,1\n1,2\n")
    return tmp_path


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_without_standard_error_a_run_is_the_same(folder, end):
    expected = run("rank", "in.csv", cwd=folder).stdout
    done = shell(f"{COMMAND} rank in.csv {end}", folder)
    assert (done.returncode, done.stdout) == (0, expected)
    done = shell(f"{COMMAND} rank in.csv -o out.csv {end}", folder)
    assert (done.returncode, done.stdout, (folder / "out.csv").read_bytes()) == (0, b"", expected)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize(("command", "code"), [("rank no.csv", 66), ("rank no.csv -q", 66), ("rnak", 2)])
def test_without_standard_error_a_refusal_is_its_exit_code(folder, end, command, code):
    done = shell(f"{COMMAND} {command} {end}", folder)
    assert (done.returncode, done.stdout) == (code, b"")


def test_without_any_standard_stream_a_file_gets_nothing_but_its_rows(folder):
    expected = run("rank", "in.csv", cwd=folder).stdout
    assert shell(f"{COMMAND} rank in.csv -o out.csv <&- >&- 2>&-", folder).returncode == 0
    assert (folder / "out.csv").read_bytes() == expected


@pytest.mark.parametrize("command", ["--help", "--version", "rank --help", "loss --list", "doctor"])
def test_a_full_disk_under_what_is_printed_is_one_line(folder, command):
    done = shell(f"{COMMAND} {command} >/dev/full", folder)
    assert done.returncode == 74
    assert refusal(done.stderr).endswith(": No space left on device")


def test_what_comes_from_a_file_moves_no_cursor_and_splits_no_line(lapsum, tmp_path):
    (tmp_path / "in.csv").write_text('"q\x1b[2Jid",score\n\x1b]0;title\x07,x\x9b2J\n')
    code, line = lapsum("rank", "in.csv", "--group", "q\x1b[2Jid", "-o", "out.csv")
    assert code == 65
    assert line.isprintable()
    (tmp_path / "in.jsonl").write_text('{"sc\\no\\u001b[2Jre":1}\n')
    done = run("rank", "in.jsonl", "--score", "sc\no\x1b[2Jre", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 2), done.stderr
    assert all(line.isprintable() for line in done.stderr.decode().splitlines())


# The names and modes of files.


def test_the_mode_of_a_file_that_is_replaced_stays(folder):
    for mode in (0o600, 0o640, 0o444):
        out = folder / f"{mode:o}.csv"
        out.write_text("secret")
        out.chmod(mode)
        assert run("rank", "in.csv", "-q", "--force", "-o", out.name, cwd=folder).returncode == 0
        assert stat.S_IMODE(out.stat().st_mode) == mode
    assert run("rank", "in.csv", "-q", "-o", "new.csv", cwd=folder, umask=0o027).returncode == 0
    assert stat.S_IMODE((folder / "new.csv").stat().st_mode) == 0o640


def test_from_a_directory_that_is_gone_a_relative_output_is_named(folder):
    (folder / "gone").mkdir()
    done = shell(f"cd gone; rmdir ../gone; {COMMAND} rank {folder}/in.csv -q -o out.csv", folder)
    assert done.returncode == 73
    assert refusal(done.stderr) == "lapsum: out.csv: cannot be made: No such file or directory"


def test_a_name_may_be_as_long_as_the_system_allows(folder, lapsum):
    longest = os.pathconf(folder, "PC_NAME_MAX")
    name = "o" * (longest - 4) + ".csv"
    assert run("rank", "in.csv", "-q", "-o", name, cwd=folder).returncode == 0
    assert (folder / name).exists()
    code, line = lapsum("rank", "in.csv", "-o", "o" + name)
    assert (code, line) == (73, f"lapsum: o{name}: cannot be made: File name too long")
    np.save(folder / "x.npy", np.zeros((2, 3)))
    code, line = lapsum("rank", "x.npy", "--upstream", "x.npy", "-o", "o" * (longest - 4) + ".npy")
    assert code == 73
    assert line.endswith("grad.npy: cannot be made: File name too long")


def test_no_name_is_refused(folder, lapsum):
    code, line = lapsum("rank", "in.csv", "-o", "")
    assert (code, line) == (73, "lapsum: '' is the name of no file; leave out -o to write to standard output")


@pytest.mark.parametrize("way", ["scores", "upstream", "link", "standard input"])
def test_a_gradient_never_replaces_an_input(folder, way):
    np.save(folder / "x.npy", np.zeros((2, 3)))
    np.save(folder / "out.grad.npy", np.ones((2, 3)))
    if way == "link":
        os.link(folder / "out.grad.npy", folder / "v.npy")
    names = {
        "scores": ["out.grad.npy", "--upstream", "x.npy"],
        "upstream": ["x.npy", "--upstream", "out.grad.npy"],
        "link": ["x.npy", "--upstream", "v.npy"],
        "standard input": ["-", "--upstream", "x.npy"],
    }
    before = contents(folder)
    with open(folder / "out.grad.npy", "rb") as piped:
        done = subprocess.run(
            [*LAPSUM, "rank", *names[way], "-q", "--force", "-o", "out.npy"],
            cwd=folder,
            stdin=piped,
            capture_output=True,
            timeout=60,
        )
    assert done.returncode == 73
    assert "out.grad.npy: would be written with out.npy, but is read; rename either" in refusal(done.stderr)
    assert contents(folder) == before
    done = run("rank", "x.npy", "--upstream", "x.npy", "-q", "--force", "-o", "out.npy", cwd=folder)
    assert done.returncode == 0  # what is no input is replaced, as --force says
