"""Messages name options as whoever reads them would type them: Python its arguments, the command its flags."""

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lapsum_cli
from lapsum_cli import LapsumError, run_file
from lapsum_cli.api.sample import sample
from lapsum_cli.cli.options import spelt
from lapsum_cli.core.spelling import in_python
from lapsum_cli.operations import OPERATIONS, operation_called
from lapsum_cli.stream import Silent

PACKAGE = Path(lapsum_cli.__file__).parent
ARGUMENT, MARKED = re.compile(r"\b[a-z_]+=(?!=)"), re.compile(r"⟨(\w+)")


def options() -> set[str]:
    """What run_file takes, those of operations included, and what a comparison samples by."""
    own = {field.name for name in OPERATIONS for field in fields(operation_called(name))}
    return {*inspect.signature(run_file).parameters, *inspect.signature(sample).parameters, *own} - {"options"}


def texts(path) -> list[str]:
    """The strings of a file that people read as messages: not docstrings, nor what help says of options."""
    tree = ast.parse(path.read_text())
    left_out = {id(c) for call in ast.walk(tree) if _declares(call) for c in ast.walk(call)}
    left_out |= {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in left_out]
    return [node.value for node in constants if isinstance(node.value, str)]


def _declares(node) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "option"


def test_every_message_below_the_command_marks_its_options():
    files = [p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] not in ("cli", "study")]
    marked = 0
    for path in files:
        for text in texts(path):
            assert not re.search(r"(^|[ (/])--[a-z]{2}", text), f"{path}: {text}"
            for name in MARKED.findall(text):
                assert name in options(), f"{path}: {text}"
                marked += 1
    assert marked > 50


# What is wrong, as the command and as Python are told.
FAULTS = [
    ("rank in.csv", {}),
    ("rank in.csv --nan lats", {"nan": "lats"}),
    ("rank in.csv --nan last --alpha 1 --alpha-column a", {"nan": "last", "alpha": 1, "alpha_column": "a"}),
    ("rank in.csv -o in.csv", {"sink": "in.csv"}),
    ("rank in.csv -o out.xyz", {"sink": "out.xyz"}),
    ("rank in.csv --from csw", {"from_format": "csw"}),
    ("rank in.csv --memory 1MB", {"memory": "1MB"}),
    ("rank in.csv --memory much", {"memory": "much"}),
    ("rank in.csv --grad-alpha", {"grad_alpha": True}),
    ("rank in.csv --quote ab", {"quote": "ab"}),
    ("rank in.csv --columns 'x*'", {"columns": "x*"}),
    ("rank in.csv --group '' --sort-groups", {"group": [], "sort_groups": True}),
    ("rank in.csv --sort-groups --temp-dir none", {"sort_groups": True, "temp_dir": "none"}),
    ("rank in.csv --engine x", {"engine": "x"}),
    ("rank in.csv -o out/ --workers 2", {"sink": "new/", "workers": 2}),
    ("rank in.csv -o out/ --ray-address here:1", {"sink": "new/", "ray_address": "here:1"}),
    ("rank in.csv -o out.csv --resume", {"resume": True}),
    ("rank in.csv -o . --dry-run", {"sink": ".", "dry_run": True}),
    (
        "topk in.csv -o out/ --k 1 --method noised --sort-groups",
        {"sink": "new/", "k": 1, "method": "noised", "sort_groups": True},
    ),
    (
        "loss ndcg in.csv -o out/ --target a --reduction mean",
        {"sink": "new/", "loss": "ndcg", "target": "a", "reduction": "mean"},
    ),
    ("rank in.csv --device gpu", {"device": "gpu"}),
    ("rank in.csv --column ''", {"column": ""}),
    ("rank apart.csv", {}),
    ("rank semicolons.csv", {}),
    ("rank lists.parquet --order", {"order": True}),
    ("sort in.csv --upstream a --keep a", {"upstream": "a", "keep": "a"}),
    ("topk in.csv", {}),
    ("topk in.csv --k 1 --min 2", {"k": 1, "minimum": 2.0}),
    ("topk in.csv --k 1 --ties all", {"k": 1, "ties": "all"}),
    ("topk in.csv --k 1,2 --only-top", {"k": "1,2", "only_top": True}),
    ("topk in.csv --k 1 --min 0.5 --log", {"k": 1, "minimum": 0.5, "log": True}),
    ("permute in.csv --tol 2", {"tolerance": 2.0}),
    ("permute in.csv --dense -o out.csv", {"dense": True, "sink": "out.csv"}),
    ("loss ndcg in.csv", {"loss": "ndcg"}),
    ("loss ndcg in.csv --target a --gain log", {"loss": "ndcg", "target": "a", "gain": "log"}),
    ("loss topk in.csv --target a", {"loss": "topk", "target": "a"}),
    ("loss topk in.csv --target a --k 1 --weight b", {"loss": "topk", "target": "a", "k": 1, "weight": "b"}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    (folder / "in.csv").write_text("qid,score,a\n1,2,1\n1,,1\n")
    (folder / "apart.csv").write_text("qid,score,a\n1,2,1\n2,2,1\n1,3,1\n")
    (folder / "semicolons.csv").write_text("qid;score\n1;2\n")
    pq.write_table(pa.table({"score": [[1.0, 2.0]]}), folder / "lists.parquet")
    return folder


@pytest.mark.parametrize(("command", "given"), FAULTS, ids=[command for command, _ in FAULTS])
def test_python_reads_arguments_and_the_command_flags(folder, monkeypatch, command, given):
    monkeypatch.chdir(folder)
    operation, *words = command.split()
    source = next(word for word in words if word.endswith((".csv", ".parquet")))
    heard = []
    voice = Silent()
    voice.say = heard.append
    with pytest.raises(LapsumError) as error:
        run_file(operation, source, **{"sink": "new.csv", **given}, words=voice)
    for line in (str(error.value), *heard):
        assert "--" not in line
        assert "⟨" not in line
    said = spelt(error.value.message)
    assert "⟨" not in said
    assert not ARGUMENT.search(said), said
    assert [path.name for path in folder.iterdir() if path.name.startswith("new")] == []


CALLS = {
    "ndcg_loss": lambda f: f([1.0, 2.0], [1.0, 2.0], gain="log"),
    "topk_loss": lambda f: f([1.0, 2.0], [1.0, 2.0], k=-1),
    "spearman_loss": lambda f: f([1.0, 2.0], [1.0, 2.0], reduction="max"),
    "soft_rank": lambda f: f([1.0, 2.0], device="gpu"),
    "soft_sort": lambda f: f([1.0, np.nan]),
    "soft_topk": lambda f: f([1.0, 2.0], "many"),
    "log_soft_topk": lambda f: f([1.0, 2.0], 1, method="none"),
    "soft_permutation": lambda f: f([1.0, 2.0], threads=0),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_arrays_speak_python(name):
    with pytest.raises(LapsumError) as error:
        CALLS[name](getattr(lapsum_cli, name))
    assert "--" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "python", "command"),
    [
        ("pass ⟨force=True⟩ to", "pass force=True to", "pass --force to"),
        ("⟨nan=last⟩ or ⟨nan⟩", 'nan="last" or nan=', "--nan last or --nan"),
        ("⟨sink⟩, ⟨to_format⟩, ⟨minimum⟩, ⟨k=10%⟩", 'sink=, to_format=, minimum=, k="10%"', "-o, --to, --min, --k 10%"),
        ("⟨score=my score⟩", 'score="my score"', "--score 'my score'"),
        ("a column ⟨⟩ of <no=option>", "a column ⟨⟩ of <no=option>", "a column ⟨⟩ of <no=option>"),
    ],
)
def test_one_text_in_two_spellings(text, python, command):
    assert (in_python(text), spelt(text)) == (python, command)
