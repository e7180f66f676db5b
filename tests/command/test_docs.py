"""The README is executed: its shell blocks in a copy of the samples, its Python blocks as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lapsum_cli.cli.app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "samples", folder / "samples")
    return folder


def _environment():
    return {**os.environ, "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]}


@pytest.mark.parametrize("block", [block for block in _blocks("sh") if "pip install" not in block])
def test_shell_blocks_run(block, checkout):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=checkout, env=_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_blocks_run(block, checkout):
    for needed, module in (("# needs torch", "torch"), ("# needs a GPU", "cupy")):
        if block.startswith(needed):
            pytest.importorskip(module)
    done = subprocess.run([sys.executable, "-c", block], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_install_blocks_name_the_commands_that_follow():
    installs = [block for block in _blocks("sh") if "pip install" in block]
    assert len(installs) == 4
    assert "lapsum rank samples/" in installs[0]
    assert "pytest" in installs[1]
    assert "samples/train.py" in installs[2]
    assert "lapsum doctor" in installs[3]


def test_every_command_is_in_the_readme_and_has_help():
    for command in lapsum_cli.cli.app.app.registered_commands:
        name = command.callback.__name__
        assert f"lapsum {name}" in README, name
        assert command.callback.__doc__, name


def test_every_format_is_in_the_readme():
    from lapsum_cli.formats import EXTENSIONS

    for extension in EXTENSIONS:
        assert f"`{extension}`" in README, extension


def test_samples_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "samples").iterdir() if path.is_file()) < 300_000
