"""The README is executed: its shell blocks in a copy of the samples, its Python blocks as they stand."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from catalogue import entries
from commands import run

import lapsum_cli.cli.app
from lapsum_cli.formats import FORMATS

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


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in _blocks("sh") if "pip install" not in block])
def test_shell_blocks_run(block, checkout):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=checkout, env=_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_blocks_print_what_their_comments_say(block, checkout):
    """A line `print(...)  # 2.0` or `# [1.  4.  2.5 2.5]: and why` printed that."""
    for needed, module in (("# needs torch", "torch"), ("# needs a GPU", "cupy")):
        if block.startswith(needed):
            pytest.importorskip(module)
    done = subprocess.run([sys.executable, "-c", block], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    prints = [line for line in block.splitlines() if line.startswith("print(")]
    for line, printed in zip(prints, done.stdout.splitlines(), strict=True):
        code, _, said = line.partition("  # ")
        assert not said or printed == said.partition(":")[0], code


def test_values_are_printed_in_the_readme():
    """Were the comments gone, the test above would compare nothing."""
    said = [line for block in _blocks("python") for line in block.splitlines() if line.startswith("print(")]
    assert sum("  # " in line for line in said) >= 3


def test_install_blocks_name_the_commands_that_follow():
    installs = [block for block in _blocks("sh") if "pip install" in block]
    assert len(installs) == 4
    assert "lapsum rank samples/" in installs[0]
    assert "pytest" in installs[1]
    assert "samples/train.py" in installs[2]
    assert "lapsum doctor" in installs[3]


@pytest.mark.slow
def test_what_follows_an_install_runs(checkout):
    """The commands of the install blocks, without the installing: a user's first ones."""
    for block in (block for block in _blocks("sh") if "pip install" in block):
        install, _, then = block.strip().partition(" && ")
        assert install.startswith("python3 -m pip install ")
        if "pytest" in then or ("train.py" in then and importlib.util.find_spec("torch") is None):
            continue  # these tests; and what test_torch.py runs
        done = subprocess.run(["bash", "-c", then], cwd=checkout, env=_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_command_is_in_the_readme_and_has_help():
    for command in lapsum_cli.cli.app.app.registered_commands:
        name = command.callback.__name__
        assert f"lapsum {name}" in README, name
        assert command.callback.__doc__, name


def test_every_format_is_in_the_readme():
    for extension in (extension for format in FORMATS.values() for extension in format.extensions):
        assert f"`{extension}`" in README, extension


def test_samples_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "samples").iterdir() if path.is_file()) < 300_000


# Help, against the tables that it speaks of.


def _help(command) -> str:
    done = run(command, "--help")
    assert (done.returncode, done.stderr) == (0, b"")
    return " ".join(re.sub(r"[│┃]", " ", done.stdout.decode()).split())


def test_the_help_of_losses_names_every_loss():
    listed = run("loss", "--list").stdout.decode().splitlines()
    names = [line.split()[0] for line in listed]
    text = _help("loss")
    assert len(names) >= 5
    for name in names:
        assert re.search(rf"\b{name}\b", text.partition("Options")[0]), name  # what each is
        assert re.search(rf"NAME.*\b{name}\b", text), name
    assert all(f"{entry.function.removesuffix('_loss')}" in names for entry in entries() if entry.per == "ranking")


@pytest.mark.parametrize("command", ["rank", "sort", "topk", "permute", "loss"])
def test_the_help_of_an_operation_names_every_format(command):
    named = re.search(r"--from FORMAT ([^.]*)\.", _help(command))[1]
    assert sorted(re.findall(r"\w+", named.replace(" or ", " "))) == sorted(FORMATS)


def test_every_value_that_help_offers_is_taken_and_no_other(here):
    """`--nan error|last|drop`: each word of a metavar is one that the option knows."""
    commands = {"rank": ["rank"], "topk": ["topk", "--k", "2"], "loss": ["loss", "ndcg", "--target", "label"]}
    beside = {"ties": ["--only-top"]}
    offered = {}
    for command in commands:
        for option, words in re.findall(r"--([\w-]+) (\w+(?:\|\w+)+)", _help(command)):
            offered.setdefault(option, (command, words.split("|")))
    assert {"nan", "device", "base", "gain", "reduction"} <= set(offered)
    for option, (command, words) in offered.items():
        for value in ({*words} | {"7"}) - {"cuda"}:
            code, said = here(
                *commands[command], ROOT / "samples/search.parquet", f"--{option}", value, *beside.get(option, []), "-q"
            )
            assert code == (2 if value == "7" else 0), (option, value, said)
