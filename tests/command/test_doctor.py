"""`lapsum doctor`: a line for each thing that a report of a fault needs, and kernels compiled ahead."""

import os
import platform
import re
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
from commands import run

import lapsum_cli
from lapsum_cli.devices.cpu import Cpu
from lapsum_cli.kernels import jit
from lapsum_cli.operations import LOSSES, warm


def report(*options, **environment) -> dict:
    done = run("doctor", *options, env=os.environ | environment, timeout=900)  # a cold cache, and a lock to wait for
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [re.fullmatch(r"(\w+) +(.+)", line) for line in done.stdout.decode().splitlines()]
    assert all(lines), done.stdout
    return {line[1]: line[2] for line in lines}


def test_a_line_for_each_thing():
    said = report()
    of_cards = ["driver", "libnvvm"] if find_spec("numba_cuda") else []
    assert list(said) == ["lapsum", "packages", "cores", "memory", "cache", "kernels", *of_cards, "cuda"]
    assert said["lapsum"].startswith(f"{lapsum_cli.__version__} on Python {platform.python_version()}, ")
    assert f"numpy {np.__version__}," in said["packages"]
    assert f"pyarrow {pa.__version__}" in said["packages"]
    assert 1 <= int(said["cores"]) <= os.cpu_count()
    limit, default = map(int, re.findall(r"(\d+) MiB", said["memory"]))
    assert 240 <= default <= min(limit, 4096)
    assert said["cache"] == str(jit.CACHE)
    assert re.match(r"\d+ of \d+ compiled", said["kernels"])
    assert said["cuda"]


def test_warm_compiles_every_kernel():
    found, of = re.fullmatch(r"(\d+) of (\d+) compiled", report("--warm")["kernels"]).groups()
    assert found == of
    assert int(of) >= 20


def test_what_takes_quadratic_steps_is_warmed_on_short_rankings(monkeypatch):
    """NeuralNDCG of 5000 scores takes a minute, and compiles nothing that 40 do not."""
    longest: dict[str, int] = {}

    def run_once(operation, rankings, cpu):
        of = getattr(operation, "loss", operation.name)
        longest[of] = max(longest.get(of, 0), rankings.longest)

    for kind in {kind for operation in warm.every_operation() for kind in type(operation).__mro__}:
        if "run_once" in vars(kind):
            monkeypatch.setattr(kind, "run_once", run_once)
    warm.compile_all("float32", Cpu(2), Cpu(2, part=2))
    assert {name for name in LOSSES if longest[name] > 40} == {
        name for name, entry in LOSSES.items() if not entry.is_square
    }


def test_a_new_cache_has_nothing_compiled(tmp_path):
    said = report(LAPSUM_CACHE_DIR=str(tmp_path))
    assert said["cache"].startswith(str(tmp_path))
    assert re.fullmatch(r"0 of \d+ compiled; --warm compiles all", said["kernels"])
