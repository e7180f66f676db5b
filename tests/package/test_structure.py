"""The architecture, held to by reading import statements; and what must stay true of every command."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lapsum_cli

PACKAGE = Path(lapsum_cli.__file__).parent

# Which rooms each room may import, at any depth and inside functions too. A file by itself is a room.
MAY_IMPORT = {
    "core": set(),
    "kernels": {"core"},
    "devices": {"kernels", "core"},
    "formats": {"core"},
    "flow": {"formats", "devices", "core"},
    "operations": {"kernels", "core"},
    "tables": {"flow", "operations", "formats", "kernels", "core"},
    "stream": {"tables", "flow", "operations", "formats", "core"},
    "engines": {"tables", "formats", "core"},
    "api": {"engines", "stream", "tables", "operations", "flow", "formats", "devices", "kernels", "core"},
    "torch": {"operations", "devices", "kernels", "core"},
    "boosting": {"api", "operations", "devices", "kernels", "core"},
    "jax": {"api", "operations", "devices", "core"},
    "study": {"torch", "api", "operations", "devices", "formats", "kernels", "core"},
    "cli": {"study", "api", "engines", "operations", "formats", "devices", "kernels", "core"},
}
# The same within the room of kernels.
KERNELS_MAY_IMPORT = {
    "cache": set(),
    "jit": {"cache"},
    "scalars": {"jit"},
    "parts": set(),
    "cpu": {"parts", "scalars", "jit"},
    "losses": {"scalars", "jit"},
    "methods": {"cpu", "scalars", "jit"},
    "cuda": {"scalars", "jit"},
}
MOST_ENTRIES = 17
NO_CODE = {"pages": ".md"}  # what folders of the package hold that are no rooms


def _room(path, of=PACKAGE):
    return path.relative_to(of).parts[0].removesuffix(".py")


def _nodes(tree, with_types):
    """All of a tree, or what is more than names of types."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if with_types or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _nodes(node, with_types)


def _imported(path, with_types=True):
    """Modules of this package that a file imports, as parts of their names: ("kernels", "cpu", "rank")."""
    package = ["lapsum_cli", *path.relative_to(PACKAGE).parts[:-1]]
    for node in _nodes(ast.parse(path.read_text()), with_types):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                whole = PACKAGE.joinpath(*base[1:], alias.name)
                is_module = whole.is_dir() or whole.with_suffix(".py").exists()
                yield tuple([*base, alias.name] if is_module else base)[1:]


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_what_the_table_allows(path):
    room = _room(path)
    if room in ("__init__", "__main__"):
        return
    for imported in _imported(path):
        if imported and imported[0] != room:
            assert imported[0] in MAY_IMPORT[room], f"{room} imports {'.'.join(imported)}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_kernels_import_what_their_table_allows(path):
    room = _room(path, PACKAGE / "kernels")
    if room == "__init__":
        return
    for imported in _imported(path):
        if imported[:1] == ("kernels",) and len(imported) > 1 and imported[1] != room:
            assert imported[1] in KERNELS_MAY_IMPORT[room], f"{room} imports {'.'.join(imported)}"


def test_every_room_has_its_line_and_no_room_reaches_itself():
    rooms = {_room(path) for path in FILES} - {"__init__", "__main__"}
    assert rooms == set(MAY_IMPORT)
    done = set()
    for room, below in MAY_IMPORT.items():  # each stands after all that it may import
        assert below <= done, room
        done.add(room)
    assert len(rooms | {"__init__", "__main__"}) <= MOST_ENTRIES


def test_no_file_imports_itself_through_others():
    """At any depth, and inside functions too: what a file stands on does not know it. Names of types are no imports."""
    below = {}
    for path in FILES:
        module = path.relative_to(PACKAGE).with_suffix("").parts
        below[module[:-1] if module[-1] == "__init__" else module] = {*_imported(path, with_types=False)} - {()}
    for module in below:
        reached, todo = set(), [*below[module]]
        while todo:
            if (one := todo.pop()) not in reached:
                reached.add(one)
                todo += below[one]
        assert module not in reached


def test_what_is_no_room_holds_one_kind_of_file():
    entries = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert entries - set(MAY_IMPORT) == set(NO_CODE)
    for folder, kind in NO_CODE.items():
        assert {path.suffix for path in (PACKAGE / folder).iterdir()} == {kind}


def test_the_tree_that_is_shown_is_the_tree():
    """The page `development` names every room and folder, from what is typed down to the arithmetic."""
    shown = re.findall(r"^[├└]── (\w+)", (PACKAGE / "pages/development.md").read_text(), re.M)
    assert set(shown) == {*MAY_IMPORT, *NO_CODE}
    in_order = [room for room in shown if room in MAY_IMPORT]
    for room, below in MAY_IMPORT.items():
        assert all(in_order.index(other) > in_order.index(room) for other in below), room


@pytest.mark.parametrize("room", sorted({path.parent for path in FILES} - {PACKAGE}), ids=lambda p: p.name)
def test_every_room_tells_its_purpose(room):
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_kernels_know_neither_arrow_nor_paths_of_the_user(path):
    assert not {"pyarrow", "typer"} & set(_top_level_imports(path))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    printing = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not printing or _room(path) == "cli"


def _top_level_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option):
    program = (
        "import sys\nfrom lapsum_cli.cli.app import app\n"
        f"try:\n    app([{option!r}])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'numpy', 'numba', 'pyarrow', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_public_names_are_importable_documented_and_all_there_are():
    starred: dict = {}
    exec("from lapsum_cli import *", starred)
    assert set(starred) - {"__builtins__"} == set(lapsum_cli.__all__) == set(dir(lapsum_cli))
    for name in lapsum_cli.__all__:
        assert starred[name].__name__ == name
        assert starred[name].__module__.startswith("lapsum_cli.")
        assert starred[name].__doc__
    with pytest.raises(AttributeError, match="no attribute 'soft_rnak'"):
        _ = lapsum_cli.soft_rnak


def test_checkers_and_editors_see_every_public_name():
    """What is imported for them alone is what anyone may import."""
    of_types = [node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    shown = {alias.asname: node.module for block in of_types for node in block.body for alias in node.names}
    assert shown == lapsum_cli._HOME


@pytest.mark.parametrize("module", ["api.best", "api.functions", "api.losses", "api.permutations", "api.quantiles"])
def test_what_a_module_of_functions_defines_is_public(module):
    made_there = vars(importlib.import_module(f"lapsum_cli.{module}")).values()
    functions = {f.__name__ for f in made_there if getattr(f, "__module__", "") == f"lapsum_cli.{module}"}
    public = {name for name in functions if name.startswith(("soft_", "log_soft_")) or "_loss" in name}
    public = {name for name in public if not name.startswith("_")}
    assert public
    assert public <= set(lapsum_cli.__all__)
