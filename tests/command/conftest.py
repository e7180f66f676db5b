"""The command in the process of the tests."""

import os
import pkgutil
import sys
import tomllib
from pathlib import Path

import pytest
from commands import contents, refusal

from lapsum_cli.cli import startup

ROOT = Path(__file__).parents[2]
main = pkgutil.resolve_name(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["lapsum"])


@pytest.fixture
def here(monkeypatch, capfd):
    """`lapsum ARGS` in this process, which takes no second to start: the exit code and what stderr says."""
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    monkeypatch.setattr(startup, "end_on_signals", lambda: None)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

    def here(*args):
        monkeypatch.setattr(sys, "argv", ["lapsum", *map(str, args)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, capfd.readouterr().err

    return here


@pytest.fixture
def lapsum(tmp_path, monkeypatch, here):
    """`lapsum ARGS --quiet` in tmp_path and in this process: sixty refusals take seconds, not a minute.

    Returns the exit code and the one line, after a look around: nothing may be there that was not there before.
    """
    monkeypatch.chdir(tmp_path)

    def lapsum(*args):
        before = contents(tmp_path)
        code, said = here(*args, "--quiet")
        assert contents(tmp_path) == before
        return code, refusal(said.encode())

    return lapsum
