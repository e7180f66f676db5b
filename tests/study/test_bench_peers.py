"""What lapsum is timed beside: a table, and a file for each library."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from benchcases import choice, made, side
from commands import run

from lapsum_cli.cli import bench as command
from lapsum_cli.core.errors import OptionError
from lapsum_cli.study.bench import files
from lapsum_cli.study.bench.files import FileBench
from lapsum_cli.study.bench.peers import PEERS, Listed, find_peers, label, parts_of

# A peer is a file, and a line of the table: this one knows what it was given, and who else is in its process.
TOY = """
import json
import sys

LABEL = "a toy"


def ranks(case, scores):
    return scores + case.length


def from_file_to_file(source, sink, threads):
    from .neighbour import said

    ours = [name for name in sys.modules if name.startswith(("lapsum_cli", "numpy"))]
    with open(sink, "w") as file:
        json.dump({"given": [source, sink, threads], "ours": ours, "path": sys.path, "neighbour": said}, file)


MODULES = {"json": {"rank": ranks}}
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The folder of a peer that is entered in the table."""
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "toy_peer.py").write_text(TOY)
    (folder / "neighbour.py").write_text("said = 'hello'")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(PEERS, "toy", Listed("toy_peer"))
    yield folder
    sys.modules.pop("toy_peer", None)


def test_a_peer_is_a_file_and_a_line(toy, capsys):
    [peer] = find_peers(["toy"], ["shapes"])
    assert [peer.name, peer.module, label(peer.name)] == ["toy", "json", "a toy"]
    assert peer in find_peers([], ["shapes"])
    assert peer in find_peers([], ["files"])
    command.bench(["rank", "sort"], shape=["3x20"], peers=["toy"], runs=1)
    *_, head, _, rank, sort = capsys.readouterr().out.splitlines()
    assert head.split("|")[-2].strip() == "× a toy (ms)"
    assert "(" in rank.split("|")[-2]
    assert sort.split("|")[-2].strip() == ""  # the toy has nothing in place of it
    with pytest.raises(OptionError, match=f"^--peers excel: unknown; known are {', '.join(PEERS)}$"):
        find_peers(["excel"], ["shapes"])
    assert list(PEERS)[-1] == "toy"


def test_a_peer_has_a_process_of_its_own_that_finds_its_neighbours_and_nothing_of_ours(toy, tmp_path):
    bench = FileBench(choice(), 100, None, find_peers(["toy"], ["files"]), 1)
    sink = tmp_path / "out"
    command = [*bench.files()[0].others["toy"], "in", str(sink)]
    subprocess.run(command, check=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    found = json.loads(sink.read_text())
    assert found["given"] == ["in", str(sink), None]
    assert found["ours"] == []
    assert found["neighbour"] == "hello"
    # Where a file of peers is called torch.py, it would be taken for PyTorch.
    assert not {str(toy), os.path.dirname(files.FILEPEER)} & set(found["path"])


@pytest.mark.parametrize("name", PEERS)
def test_a_file_says_what_the_table_says_of_it(name):
    for peer in parts_of(name):
        assert peer.in_memory or peer.work("uneven") or peer.on_card or peer.path
        for said in ("ON_CARD", "sees_card", "on_stream"):
            assert hasattr(peer.file, said) == PEERS[name].on_card


def test_files_import_no_library_before_they_are_asked():
    script = """
import sys
from lapsum_cli.study.bench.peers import PEERS, parts_of
before = set(sys.modules)
for name in PEERS:
    parts_of(name)
print({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "{'lapsum_cli'}\n"


@pytest.mark.parametrize(
    ("peer", "ranks_of"),
    [
        ("numpy", lambda case, hard: hard),
        ("scipy", lambda case, hard: case.length + 1 - hard),
        ("torch", lambda case, hard: hard),
        ("polars", lambda case, hard: hard.to_numpy().reshape(case.rankings, case.length)),
        ("duckdb", lambda case, hard: np.sort(np.concatenate(list(hard.values())))),  # in an order of its choice
    ],
)
def test_hard_ranks_are_what_the_soft_ones_tend_to(peer, ranks_of):
    pytest.importorskip(peer)
    case, inputs, [ranks] = made("rank", alpha=1e-9)
    hard = ranks_of(case, side(peer, "rank")(case, *inputs))
    np.testing.assert_array_equal(hard, np.sort(ranks, axis=None) if peer == "duckdb" else ranks)


def test_hard_memberships_are_what_the_soft_ones_tend_to():
    case, [scores], [memberships] = made("topk", alpha=1e-9)
    chosen = np.take_along_axis(memberships, side("numpy", "topk")(case, scores)[:, -10:], axis=-1)
    np.testing.assert_array_equal(chosen, 1)
    pytest.importorskip("duckdb")
    found = side("duckdb", "topk")(case, scores)
    np.testing.assert_array_equal(np.sort(found["score"]), np.sort(scores[memberships == 1]))
    pytest.importorskip("torch")
    np.testing.assert_array_equal(side("dftopk", "topk")(case, scores), memberships)


@pytest.mark.slow
def test_other_soft_ranks_take_part_where_they_can_be_imported(tmp_path):
    """Stand-ins with the calls that the packages have; of the authors' one only a part is built."""
    pytest.importorskip("torch")
    for path, text in STAND_INS.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    given = ("bench", "rank", "rank-gradient", "topk", "--shape", "3x20", "--runs", "1", "--json")
    done = run(*given, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])})
    assert done.returncode == 0, done.stderr
    sides = {case["operation"]: list(case["sides"]) for case in json.loads(done.stdout)["cases"]}
    assert sides["rank-gradient"] == ["lapsum", "memcpy", "torchsort", "fast-soft-sort", "authors"]
    assert "authors" in sides["rank"]
    assert "authors" not in sides["topk"]


STAND_INS = {
    "torchsort.py": """
def soft_rank(values, regularization="l2", regularization_strength=1.0):
    assert values.ndim == 2
    return values * regularization_strength
""",
    "fast_soft_sort/__init__.py": "",
    "fast_soft_sort/numpy_ops.py": """
class SoftRank:
    def __init__(self, values, direction="ASCENDING", regularization_strength=1.0, regularization="l2"):
        assert values.ndim == 1 and direction == "DESCENDING"
    def compute(self): return 1
    def vjp(self, vector): return vector
""",
    "lapsum/__init__.py": "",
    "lapsum/rank.py": "def soft_rank(x, alpha=-1, dim=1): return x * alpha",
    "lapsum/topk.py": "from . import soft_topk_cpu",
}
