"""The architecture, held to by reading import statements; and what must stay true of every command."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lapsum_cli

PACKAGE = Path(lapsum_cli.__file__).parent

# Each part may import those before it in its line of this order, and none after it.
LAYERS = [
    "errors",
    "rankings",
    "kernels",
    "quantities",
    "processors",
    "operation",
    "operators",
    "devices",
    "formats",
    "groups",
    "columns",
    "layouts",
    "detection",
    "batching",
    "memory",
    "pipeline",
    "transform",
    "losstable",
    "pairs",
    "stream",
    "job",
    "arrays",
    "api",
    "losses",
    "torch",
    "terminal",
    "bench",
    "doctor",
    "options",
    "cli",
]


def _part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_parts(path):
    """Parts of this package that a file imports at any depth, inside functions too."""
    package = ["lapsum_cli", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            names = [base[1]] if len(base) > 1 else [alias.name for alias in node.names]
            yield from (name for name in names if name in LAYERS)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    part = _part(path)
    if part in ("__init__", "__main__"):
        return
    for imported in _imported_parts(path):
        assert LAYERS.index(imported) <= LAYERS.index(part), f"{part} imports {imported}"


def test_every_part_has_its_layer():
    parts = {_part(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert parts == set(LAYERS)


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").glob("*.py")), ids=lambda p: p.name)
def test_kernels_know_neither_arrow_nor_paths_of_the_user(path):
    assert not {"pyarrow", "typer"} & set(_top_level_imports(path))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    printing = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not printing or path.name in ("cli.py", "terminal.py", "report.py")


def _top_level_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option):
    program = (
        "import sys\nfrom lapsum_cli.cli import app\n"
        f"try:\n    app([{option!r}])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'numpy', 'numba', 'pyarrow', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_public_names_are_importable_and_sorted():
    assert lapsum_cli.__all__ == sorted(lapsum_cli.__all__)
    for name in lapsum_cli.__all__:
        assert getattr(lapsum_cli, name).__name__ == name
        assert getattr(lapsum_cli, name).__doc__
