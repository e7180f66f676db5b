"""Words that a shell completes: commands, options, losses, and the columns of the file that stands in the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import parquet

LAPSUM = Path(sys.executable).with_name("lapsum")
COLUMNS = ["qid", "score", "old_score"]


BY_COLUMN = (["rank", "in.parquet", "--score", ""], COLUMNS)


@pytest.mark.parametrize(
    ("shell", "typed", "offered"),
    [
        ("zsh", *BY_COLUMN),
        ("fish", *BY_COLUMN),
        ("bash", ["to"], ["topk"]),
        ("bash", ["loss", "n"], ["ndcg"]),
        ("bash", ["help", "to"], ["topk", "tour"]),
        ("bash", ["topk", "in.parquet", "--on"], ["--only-top"]),
        ("bash", *BY_COLUMN),
        ("bash", ["loss", "ndcg", "in.parquet", "--target", "s"], ["score"]),
        ("bash", ["rank", "in.parquet", "--group", "qid,o"], ["qid,old_score"]),
        ("bash", ["rank", "missing.parquet", "--score", ""], []),
        ("bash", ["rank", "--score", ""], []),
    ],
)
def test_what_is_offered(tmp_path, shell, typed, offered):
    parquet(tmp_path / "in.parquet", qid=[1], score=[1.0], old_score=[2.0])
    words = " ".join(["lapsum", *typed])
    environment = {**os.environ, "_LAPSUM_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        environment |= {"COMP_WORDS": words, "COMP_CWORD": str(len(typed))}
    else:
        environment |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run([LAPSUM], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stderr, done.returncode in (0, 1)) == ("", True)
    found = done.stdout.replace('"', " ").split()
    assert [word for word in [*COLUMNS, *offered] if word in found] == [w for w in [*COLUMNS, *offered] if w in offered]
    assert offered or not set(found) & set(COLUMNS)
