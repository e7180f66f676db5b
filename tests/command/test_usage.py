"""Whatever is typed wrongly gets one line that says what, and where to read on; a kind of fault has one exit code."""

import os
import shlex

import numpy as np
import pytest
from commands import parquet

from lapsum_cli.cli.pages import PAGES
from lapsum_cli.operations import LOSSES

COMMANDS = ("rank", "sort", "topk", "quantile", "permute", "loss", "doctor", "compare", "bench", "help")
_LOSSES = f"{', '.join(LOSSES)}, or a metric such as ndcg@10,"
# What is typed: what is said, and where to read on. One line each, with exit code 2.
TYPED = {
    "rnak": "no such command 'rnak'; is 'rank' meant?; try lapsum -h",
    "version": "no such command 'version'; try lapsum -h",
    "--vesion": "no such option: --vesion; is --version meant?; try lapsum -h",
    "--quiet rank in.parquet": "no such option: --quiet; try lapsum -h",
    "rank in.parquet --bas 0": "no such option: --bas; is --base meant?; try lapsum rank -h",
    "rank in.parquet --k 1": "no such option: --k, which topk, loss, compare and bench have; try lapsum rank -h",
    "sort in.parquet --order": "no such option: --order, which rank and topk have; try lapsum sort -h",
    "rank in.parquet --q 0.5": "no such option: --q, which quantile has; try lapsum rank -h",
    "rank in.parquet --alpha": "--alpha needs a value; try lapsum rank -h",
    "rank in.parquet --force=1": "--force takes no value; try lapsum rank -h",
    "rank in.parquet --threads 0": "--threads must be 1 or more; try lapsum rank -h",
    "rank in.parquet --threads x": "--threads must be a whole number; try lapsum rank -h",
    "topk in.parquet --k 1 --min x": "--min must be a number; try lapsum topk -h",
    "doctor x": "unexpected argument: x; try lapsum doctor -h",
    "doctor --wram": "no such option: --wram; is --warm meant?; try lapsum doctor -h",
    "help x": f"no command or page is called 'x'; commands: {', '.join(COMMANDS)}; pages: {', '.join(PAGES)}",
    "help rank x": "unexpected argument: x; try lapsum help -h",
    "bench --runs 0": "--runs must be 1 or more; try lapsum bench -h",
    "bench --runs x": "--runs must be a whole number; try lapsum bench -h",
    "loss": f"name one of {_LOSSES} first: lapsum loss ndcg FILE --target COLUMN",
    "loss in.parquet": f"no loss 'in.parquet'; name one of {_LOSSES} first: lapsum loss ndcg FILE --target COLUMN",
}


@pytest.mark.parametrize("typed", TYPED)
def test_what_is_typed_wrongly_is_one_line(here, typed):
    assert here(*typed.split()) == (2, f"lapsum: {TYPED[typed]}\n")


# A kind of fault, its code, and where it may be found, a command a line.
KINDS = {
    "an unknown name of a choice": (
        2,
        """
        rank in.parquet --nan x
        rank in.parquet --device x
        rank in.parquet --engine x
        loss x in.parquet
        rank in.parquet --method x
        rank in.parquet --base 3
        topk in.parquet --k 1 --only-top --ties x
        loss ndcg in.parquet --target label --gain x
        loss ndcg in.parquet --target label --reduction x
        """,
    ),
    "an unknown format or extension": (
        2,
        """
        rank in.parquet --from x
        rank in.parquet --to x
        rank in.parquet -o out.x
        rank in.parquet -o out
        """,
    ),
    "a value that an option cannot use": (
        2,
        """
        rank in.parquet --alpha x
        rank in.parquet --alpha 0
        topk in.parquet --k x
        topk in.parquet --k -1
        quantile in.parquet --q x
        quantile in.parquet --q 2
        quantile in.parquet --q 0.5,0.5
        rank in.parquet --memory x
        rank in.parquet --memory 1MB
        topk in.parquet --k 1 --min 2
        permute in.parquet --tol 1
        rank in.parquet --temp-dir none --sort-groups
        rank - -
        rank in.parquet --threads x
        rank in.parquet --column ''
        rank in.parquet --workers 2 -o out/
        rank in.parquet --resume -o out.csv
        rank in.parquet --dry-run
        rank in.parquet --json
        """,
    ),
    "a column that is named and not there": (
        2,
        """
        rank in.parquet --score none
        rank in.parquet --group none
        rank in.parquet --alpha-column none
        rank in.parquet --upstream none
        rank in.parquet --columns none
        topk in.parquet --k-column none
        permute in.parquet --item none
        sort in.parquet --keep none
        loss ndcg in.parquet --target none
        """,
    ),
    "several columns that could be meant": (
        2,
        """
        rank several.parquet
        permute items.parquet
        rank groups.parquet
        """,
    ),
    "a column of the wrong type": (
        65,
        """
        rank in.parquet --score text
        rank in.parquet --alpha-column text
        rank in.parquet --upstream text
        rank in.parquet --columns text
        topk in.parquet --k-column text
        loss ndcg in.parquet --target text
        permute lists.parquet --item id
        """,
    ),
    "a shape that is not that of the scores": (
        65,
        """
        rank wide.parquet --columns 's*' --upstream 'g*'
        rank lists.parquet --upstream short
        rank x.npy --upstream y.npy -o o.npy
        """,
    ),
    "a value of a column that cannot be used": (
        65,
        """
        rank in.parquet --alpha-column zero
        topk in.parquet --k-column negative
        rank in.parquet --score hole
        rank in.parquet --upstream hole
        loss ndcg in.parquet --target negative
        rank in.parquet --alpha-column varies
        """,
    ),
    "a file that is none": (
        65,
        """
        rank empty.csv
        rank empty.parquet
        rank damaged.parquet
        rank damaged.npy
        rank in.bin
        rank in.parquet --from csv
        rank in.parquet --from npy
        """,
    ),
    "an input that is not there": (
        66,
        """
        rank none.csv
        rank none*.csv
        rank folder
        rank in.parquet none.csv
        rank ''
        rank x.npy --upstream none.npy -o o.npy
        rank in.parquet/x
        """,
    ),
    "an output that cannot be made": (
        73,
        """
        rank in.parquet -o none/out.csv
        rank in.parquet -o none/out/
        rank in.parquet -o empty.csv
        rank in.parquet -o in.parquet
        rank in.parquet -o ''
        rank in.parquet -o empty.csv/
        rank in.parquet -o .
        """,
    ),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A file for every fault."""
    monkeypatch.chdir(tmp_path)
    numbers = {"qid": [1, 1, 2], "score": [1.0, 2.0, 3.0], "label": [0, 1, 2], "text": ["a", "b", "c"]}
    odd = {"zero": [0.0] * 3, "negative": [-1.0] * 3, "hole": [1.0, None, 2.0], "varies": [1.0, 2.0, 3.0]}
    parquet("in.parquet", **numbers, **odd)
    parquet("several.parquet", score=[1.0], pred=[2.0])
    parquet("items.parquet", score=[1.0], docid=[2], item=[1])
    parquet("groups.parquet", score=[1.0], qid=[2], topic=[1])
    parquet("lists.parquet", score=[[1.0, 2.0]], short=[[1.0]], id=[1])
    parquet("wide.parquet", s1=[1.0], s2=[2.0], g1=[1.0])
    np.save("x.npy", np.zeros((2, 3)))
    np.save("y.npy", np.zeros((3, 2)))
    for name, content in (
        ("empty.csv", b""),
        ("empty.parquet", b""),
        ("damaged.parquet", b"PAR1xx"),
        ("in.bin", b"\0\1"),
    ):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_fault_has_one_code_and_one_line(files, here, kind):
    want, ways = KINDS[kind]
    before = sorted(os.listdir())
    for typed in ways.split("\n"):
        if not typed.strip():
            continue
        code, said = here(*shlex.split(typed), "-q")
        assert (code, said.count("\n")) == (want, 1), (typed, code, said)
        assert sorted(os.listdir()) == before, typed
