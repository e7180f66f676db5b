"""The runs on a card, rehearsed in the simulator; and what a step's failure, limit and lack of a tool come to."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import on_a_card
import pytest
from on_a_card import Step

TESTS = Path(on_a_card.__file__).parent
SLEEPER = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print('asleep', flush=True); time.sleep(60)"


@pytest.mark.simulated
def test_a_rehearsal_of_the_light_run(tmp_path):
    steps = ["versions", "compiled", "costs", "kernels"]
    command = [sys.executable, str(TESTS / "on_a_card.py"), "light", str(tmp_path), "--rehearse"]
    done = subprocess.run([*command, f"--steps={','.join(steps)}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"light-{step}.log" for step in steps)
    assert [line.split()[:2] for line in done.stdout.splitlines()[-len(steps) :]] == [[step, "0"] for step in steps]
    for words in ("a simulated card", "launch of 16 arrays", "TB/s, read and written", "topk 1x90 float32 normal"):
        assert words in done.stdout


@pytest.mark.skipif(bool(on_a_card.environment().get("NUMBA_ENABLE_CUDASIM")), reason="the simulator is a card")
@pytest.mark.parametrize("step", ["compiled", "every", "costs", "kernels", "sums", "small", "times", "files", "tests"])
def test_without_a_card_a_step_is_one_line_and_exit_code_69(tmp_path, step):
    given = {"every": ["compare", "none"], "files": [str(tmp_path)]}.get(step, [])
    environment = {**on_a_card.environment(), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(on_a_card.script(step, *given), env=environment, capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (69, 1, "")
    assert 'device="cpu"' in done.stdout


def test_a_step_that_fails_or_is_cut_off_keeps_no_other_from_running(tmp_path, monkeypatch, capsys):
    def steps(folder):
        yield Step("failing", [sys.executable, "-c", "print('why'); exit(3)"])
        yield Step("slow", [sys.executable, "-c", SLEEPER], 2)
        yield Step("without a tool", "no such tool here")
        yield Step("fine", [sys.executable, "-c", "print('done')"])
        yield Step("late", [sys.executable, "-c", "print('done')"], 1)
        yield Step("last", [sys.executable, "-c", "print('done')"], is_last=True)

    monkeypatch.setitem(on_a_card.RUNS, "tried", (steps, 30))
    start = time.monotonic()
    assert on_a_card.main("tried", tmp_path) == 1
    assert time.monotonic() - start < 25
    table = [line.rsplit(maxsplit=3) for line in capsys.readouterr().out.splitlines()[-6:]]
    assert [line[0].split("  ")[0] for line in table][:2] == ["failing", "slow"]
    words = (tmp_path / "tried-slow.log").read_text(), (tmp_path / "tried-without-a-tool.log").read_text()
    assert words == ("asleep\n", "no such tool here\n")
    assert (tmp_path / "tried-fine.log").read_text() == (tmp_path / "tried-last.log").read_text() == "done\n"


HANGS = """
import sys, time
import every
every.PATIENCE, sys.argv = 0.1, [sys.argv[1], "compare", "file"]
with every.ending(lambda: every.on("an operation: no end", 7, 2)):
    time.sleep(60)
"""


def test_an_operation_that_does_not_end_is_named_and_the_next_has_a_new_process(tmp_path):
    next_one, environment = tmp_path / "next.py", on_a_card.environment()
    next_one.write_text("import sys; print(*sys.argv[1:])")
    environment["PYTHONPATH"] += os.pathsep + str(on_a_card.STEPS)
    command = [sys.executable, "-c", HANGS, str(next_one)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.splitlines() == ["an operation: no end: on in a new process", "compare file 7 2"]


def test_what_was_aimed_at_is_told_from_what_was_measured(tmp_path):
    times = {"copy": 1.0, "lapsum": 5.0, "repeated": 3.0, "graph": 1.5, "torch": 2.0}
    (tmp_path / "figures.json").write_text(json.dumps({"topk 1x1000000": times, "rank 100000x1000": times}))
    command = on_a_card.script("targets", str(tmp_path))
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    lines = {line[:52].strip(): line[52:].split(maxsplit=2) for line in done.stdout.splitlines()}
    assert lines["topk 1x1000000 / copy"] == ["1.50", "2.00", "met (graph)"]
    assert lines["topk 1x1000000 / torch.topk"] == ["0.75", "0.50", "not met (graph)"]
    assert lines["rank 100000x1000 / torch.sort"] == ["2.50", "1.00", "not met (lapsum)"]
    assert lines["rank 1x10000000 / torch.sort"] == ["1.30", "not", "measured"]
