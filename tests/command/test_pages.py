"""`lapsum help`: the commands and the pages, the pages on a terminal and through a pipe, and in any installation."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import LAPSUM, refusal, run
from documents import PAGES as FILES

import lapsum_cli
from lapsum_cli.cli.app import app
from lapsum_cli.cli.pages import PAGES, narrowed
from lapsum_cli.study.bench.tables import TABLES

PACKAGE = Path(lapsum_cli.__file__).parent
COMMANDS = [command.callback.__name__ for command in app.registered_commands]
NARROW = 80


@pytest.fixture
def printed(capsys):
    """What `lapsum ARGS` prints, in this process and through a pipe."""

    def printed(*args):
        app(args, standalone_mode=False)
        return capsys.readouterr().out

    return printed


def test_every_page_is_in_the_table_as_its_first_line_says():
    first = {page.stem: page.read_text().splitlines()[0] for page in FILES}
    assert first == {name: f"# {name.capitalize()}: {about}" for name, about in (PAGES | {"gpu": ""}).items()} | {
        "gpu": f"# GPU: {PAGES['gpu']}"
    }
    assert not PAGES.keys() & set(COMMANDS)  # a command would hide it


def test_help_lists_commands_and_pages(printed):
    listed = printed("help")
    assert listed.splitlines()[1:] == printed("--help").splitlines()[1:]  # the first line has the program's name
    for name in (*COMMANDS, *PAGES):
        assert re.search(rf"^  {name} .*\w", listed, re.M), name


def test_a_page_is_printed_as_it_is_and_a_command_has_its_help(printed):
    for page in FILES:
        assert printed("help", page.stem) == page.read_text()
    assert printed("help", "sort").startswith("Usage: ")


def test_letters_that_standard_output_has_not_are_told_by_their_numbers():
    told = run("help", "numerics", env=os.environ | {"PYTHONIOENCODING": "latin-1"})
    assert (told.returncode, told.stderr) == (0, b"")
    assert b"1 + \\u03a3" in told.stdout


def test_help_of_what_there_is_not_names_what_there_is(here):
    code, said = here("help", "nonsense")
    assert code == 2
    line = refusal(said.encode())
    assert "'nonsense'" in line
    assert set(re.findall(r"\w+", line)) >= {*COMMANDS, *PAGES}


@pytest.mark.parametrize("page", FILES, ids=lambda page: page.stem)
def test_what_a_terminal_cannot_wrap_fits_it(page):
    """What a block prints is as it is, and a table is parted; prose is wrapped for who reads the file."""
    text = re.sub(r"^```text\n.*?^```|^<!-- bench.*?end -->", "", page.read_text(), flags=re.S | re.M)
    assert [line for line in text.splitlines() if len(line) > NARROW] == []


def test_a_wide_table_keeps_every_cell():
    head, rule = "| name | a | b | c |", "|------|---:|---:|---:|"
    parts = narrowed(f"before\n{head}\n{rule}\n| one | 1.0000 | 2.0000 | 3.0000 |\nafter", 24).split("\n\n")
    assert [re.findall(r"[\w.]+", part) for part in parts] == [
        ["before", "name", "a", "b", "one", "1.0000", "2.0000"],
        ["name", "c", "one", "3.0000", "after"],
    ]
    narrow = f"{head}\n{rule}\n| one | 1 | 2 | 3 |\n"
    assert re.sub("[ -]", "", narrowed(narrow, NARROW)) == re.sub("[ -]", "", narrow)


def test_a_terminal_gets_the_page_formatted_and_every_number_of_it():
    """The page of the widest tables, in as many columns as the narrowest terminal has."""
    shown, terminal = pty.openpty()
    process = subprocess.Popen(
        [*LAPSUM, "help", "speed"], stdout=terminal, env={**os.environ, "COLUMNS": str(NARROW), "TERM": "xterm"}
    )
    os.close(terminal)
    written = b""
    while True:
        try:
            written += os.read(shown, 1 << 16)
        except OSError:  # the other end is closed
            break
    assert process.wait() == 0
    text = written.decode()
    lines = [line.rstrip() for line in re.sub(r"\x1b(\[[\d;]*m|\]8;.*?\x1b\\)", "", text).splitlines()]
    assert max(map(len, lines)) <= NARROW
    assert "…" not in "".join(lines)
    assert "<!--" not in "".join(lines)
    page = (PACKAGE / "pages/speed.md").read_text()
    cells = {cell.strip() for line in page.splitlines() if line.startswith("| ") for cell in line.split("|")}
    assert all(any(cell in line for line in lines) for cell in cells)


def test_an_installation_in_an_archive_has_its_pages(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "lapsum_cli", ignore=shutil.ignore_patterns("__pycache__", "kernels"))
    shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "lapsum_cli")
    done = subprocess.run(
        [sys.executable, "-m", "lapsum_cli", "help", "alpha"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "zipped.zip")},
        cwd=tmp_path / "lapsum_cli",
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ((PACKAGE / "pages/alpha.md").read_text(), "")


def test_the_page_of_speed_has_a_place_for_every_kind_of_table():
    text = (PACKAGE / "pages/speed.md").read_text()
    for kind in TABLES:
        assert text.index(f"<!-- bench:{kind}:begin -->") < text.index(f"<!-- bench:{kind}:end -->")
