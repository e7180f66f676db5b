"""README.md and the pages of `lapsum help` are run, block by block, and what they show is what is printed."""

import fnmatch
import re
import runpy

import pytest
from catalogue import entries, is_loss
from commands import contents, run
from documents import BLOCK, PAGES, README, ROOT, blocks, checkout, printed, same

import lapsum_cli.cli.app
from lapsum_cli.formats import FORMATS
from lapsum_cli.operations import METHODS

DOCUMENTS = (README, *PAGES)
TEXT = "\n".join(document.read_text() for document in DOCUMENTS)
SHELL, PYTHON = blocks("sh"), blocks("python")
MOST_WORDS = 1300
ELSEWHERE = re.compile(r"pytest|samples/(train|boosting)\.py")  # these tests, and what two others run


def _differs(block, output):
    return f"{block} prints this; `python3 tests/documents.py` writes it there:\n{output}"


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in SHELL if not ELSEWHERE.search(block.code)], ids=str)
def test_shell_blocks_print_what_is_shown(block, tmp_path):
    """Each runs by itself, and leaves in a checkout only what git ignores; the first command leaves nothing."""
    if not block.can_run():
        pytest.skip(block.code.splitlines()[0])
    before = contents(checkout(tmp_path))
    output = printed(block, tmp_path)
    assert (block.is_installing and not block.shown) or same(output, block.shown), _differs(block, output)
    left = [path.name for path in contents(tmp_path).keys() - before.keys()]
    ignored = [line.removeprefix("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in ignored) for name in left), left
    assert block is not SHELL[0] or not left


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_blocks_print_what_is_shown(block, tmp_path):
    if not block.can_run():
        pytest.skip(block.code.splitlines()[0])
    output = printed(block, checkout(tmp_path))
    assert same(output, block.shown), _differs(block, output)


def test_output_is_shown_and_follows_what_prints_it():
    """Were it not, the tests above would compare nothing."""
    for found in (SHELL, PYTHON):
        assert sum(bool(block.shown) for block in found) >= 3
    languages = re.findall(r"^```(\w+)$", TEXT, re.M)
    assert languages.count("text") == sum(bool(match[3]) for match in BLOCK.finditer(TEXT))
    assert set(languages) == {"sh", "python", "text"}


def test_the_readme_installs_and_then_runs_what_the_gate_takes_from_it():
    installing = [block.code for block in blocks("sh", [README]) if block.is_installing]
    assert [code.count("\n") for code in installing] == [1, 1]
    assert "lapsum rank samples/" in installing[0]
    assert "pytest" in installing[1]


def test_the_readme_is_a_front_page():
    assert len(README.read_text().split()) < MOST_WORDS


def test_every_link_to_a_file_leads_to_one():
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
            assert link.startswith("https://") or (document.parent / link).is_file(), (document.name, link)
    linked = re.findall(r"\(lapsum_cli/pages/(\w+)\.md\)", README.read_text())
    assert {*linked} == {page.stem for page in PAGES}


def test_every_command_is_documented_and_has_help():
    for command in lapsum_cli.cli.app.app.registered_commands:
        name = command.callback.__name__
        assert f"lapsum {name}" in TEXT, name
        assert command.callback.__doc__, name


def test_every_format_is_documented():
    for extension in (extension for format in FORMATS.values() for extension in format.extensions):
        assert f"`{extension}`" in TEXT, extension


def test_the_picture_is_what_its_script_draws():
    drawing = runpy.run_path(str(ROOT / "samples/draw_alpha.py"))["drawing"]()
    assert same(drawing, (ROOT / "samples/alpha.svg").read_text(), off=1e-3)


def test_samples_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "samples").iterdir() if path.is_file()) < 300_000


# Help, against the tables that it speaks of.


def _help(command) -> str:
    done = run(command, "--help")
    assert (done.returncode, done.stderr) == (0, b"")
    return " ".join(re.sub(r"[│┃]", " ", done.stdout.decode()).split())


def test_the_help_of_losses_names_every_loss():
    listed = run("loss", "--list").stdout.decode().partition("\n\n")[0].splitlines()
    names = [line.split()[0] for line in listed]
    text = _help("loss")
    assert len(names) >= 5
    for name in names:
        assert re.search(rf"\b{name}\b", text.partition("Options")[0]), name  # what each is
        assert re.search(rf"NAME.*\b{name}\b", text), name
    losses = [entry.function.removesuffix("_loss") for entry in entries() if is_loss(entry)]
    assert {name.replace("_", "-") for name in losses} <= set(names)


@pytest.mark.parametrize("command", ["rank", "sort", "topk", "quantile", "permute", "loss"])
def test_the_help_of_an_operation_names_every_format(command):
    named = re.search(r"--from FORMAT ([^.]*)\.", _help(command))[1]
    assert sorted(re.findall(r"\w+", named.replace(" or ", " "))) == sorted(FORMATS)


def _method(option, command):
    """The first method that has an option, as it is typed; nothing for one of all."""
    having = [name for name, of_it in METHODS.items() if option in of_it.options and command in of_it.operations]
    return ["--method", having[0]] if having else []


def test_every_value_that_help_offers_is_taken_and_no_other(here):
    """`--nan error|last|drop`: each word of a metavar is one that the option knows."""
    commands = {"rank": ["rank"], "topk": ["topk", "--k", "2"], "loss": ["loss", "ndcg", "--target", "label"]}
    beside = {"ties": ["--only-top"], "solver": ["--method", "sparse", "--p", "2"]}
    offered = {}
    for command in commands:
        for option, words in re.findall(r"--([\w-]+) (\w+(?:\|\w+)+)", _help(command)):
            offered.setdefault(option, (command, words.split("|")))
    assert {"nan", "device", "base", "gain", "reduction"} <= set(offered)
    for option, (command, words) in offered.items():
        for value in ({*words} | {"7"}) - {"cuda"}:
            given = [*commands[command], *beside.get(option, _method(option, command))]
            given[1:2] = ["lambda"] if option == "pairs" else given[1:2]
            if "threshold" in given:  # a gate, of a method without a k
                given = [*commands[command][:1], *_method(option, command)]
            code, said = here(*given, ROOT / "samples/search.parquet", f"--{option}", value, "-q")
            assert code == (2 if value == "7" else 0), (option, value, said)
