"""A run that stopped goes on: what is finished stays, what is not is computed, and what has changed is refused."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import contents, run
from cut_tables import SHAPES, files, scored, together, written

from lapsum_cli import DataError, OutputError, run_file
from lapsum_cli.engines import manifest, threads
from lapsum_cli.formats.places import MANIFEST
from lapsum_cli.stream import Silent


class Stopped(Exception):
    pass


@pytest.fixture
def inputs(tmp_path):
    return written(scored(), tmp_path / "in", SHAPES["straddling"])


@pytest.fixture
def out(tmp_path):
    return f"{tmp_path}/out/"


def lines(out):
    with open(os.path.join(out, MANIFEST)) as file:
        return [json.loads(line) for line in file]


def stopped(monkeypatch, count, *args, **given):
    """A run that stops when so many shards are finished."""

    def run(task, shards, workers):
        for shard in shards[:count]:
            yield task(shard)
        raise Stopped

    with monkeypatch.context() as context:
        context.setattr(threads, "run", run)
        with pytest.raises(Stopped):
            run_file(*args, **given)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_resumed_run_computes_the_rest_alone(tmp_path, monkeypatch, inputs, out, count):
    stopped(monkeypatch, count, "rank", inputs, out)
    before = {path: os.stat(path) for path in files(tmp_path / "out")}
    assert len(before) == count
    with pytest.raises(OutputError, match="holds a data set; pass resume=True to go on with it, or force=True"):
        run_file("rank", inputs, out)
    plan = run_file("rank", inputs, out, resume=True, dry_run=True)
    assert len(plan.todo) == len(inputs) - count
    assert (plan.seconds is not None) == bool(count)
    done = run_file("rank", inputs, out, resume=True)
    assert (done.shards, done.resumed, done.rows, done.rankings) == (5, count, 87, 8)
    assert all(os.stat(path) == was for path, was in before.items())
    run_file("rank", inputs, tmp_path / "one.parquet")
    assert together(tmp_path / "out").equals(pq.read_table(tmp_path / "one.parquet"))
    again = run_file("rank", inputs, out, resume=True)
    assert again.resumed == again.shards == 5
    assert sum("complete" in line for line in lines(out)) == 1


def test_a_run_of_nothing_may_be_resumed(tmp_path, monkeypatch, inputs, out):
    stopped(monkeypatch, 0, "rank", inputs, out)
    assert not os.path.exists(out)
    assert run_file("rank", inputs, out, resume=True).resumed == 0


def test_means_are_those_of_all_shards(tmp_path, monkeypatch, inputs, out):
    given = {"loss": "ndcg,mrr", "target": "label"}
    stopped(monkeypatch, 2, "loss", inputs, out, **given)
    done = run_file("loss", inputs, out, resume=True, **given)
    one = run_file("loss", inputs, tmp_path / "one.parquet", **given)
    assert [total.count for total in done.totals] == [total.count for total in one.totals]
    assert [*map(float, done.totals)] == pytest.approx([*map(float, one.totals)], rel=1e-12)
    assert done.called == one.called


def test_a_gradient_of_the_mean_is_resumed_as_it_was(tmp_path, monkeypatch, inputs, out):
    given = {"loss": "ndcg", "target": "label", "gradient": True, "reduction": "mean"}
    stopped(monkeypatch, 2, "loss", inputs, out, **given)
    run_file("loss", inputs, out, resume=True, **given)
    run_file("loss", inputs, tmp_path / "one.parquet", **given)
    assert together(tmp_path / "out").equals(pq.read_table(tmp_path / "one.parquet"))


CHANGES = {
    "alpha": ({"alpha": 0.2}, "alpha was 0.1std, and is 0.2"),
    "base": ({"base": 0}, "base was 1, and is 0"),
    "order": ({"order": True}, "order was False, and is True"),
    "column": ({"column": "r"}, "column was None, and is r"),
    "score": ({"score": "label"}, "column score was score, and is label"),
    "format": ({"to_format": "csv"}, "to_format was None, and is csv"),
    "nan": ({"nan": "last"}, "nan was error, and is last"),
    "operation": ({"operation": "sort"}, "operation was rank, and is sort"),
    "version": ({}, "version was 0.0, and is "),
    "an input": ({}, "p001.parquet has changed"),
    "one less": ({}, "p004.parquet is no input any more"),
    "one more": ({}, "p005.parquet was no input"),
    "their order": ({}, "the inputs have another order"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_has_changed_is_refused(tmp_path, monkeypatch, inputs, out, name):
    stopped(monkeypatch, 2, "rank", inputs, out)
    given, words = CHANGES[name]
    sources = [*inputs]
    if name == "version":
        text = (tmp_path / "out" / MANIFEST).read_text()
        (tmp_path / "out" / MANIFEST).write_text(text.replace('"version": "', '"version": "0.0", "was": "'))
    elif name == "an input":
        os.utime(inputs[1])
    elif name == "one less":
        sources.pop()
    elif name == "one more":
        pq.write_table(scored().slice(80), tmp_path / "in/p005.parquet")
        sources.append(tmp_path / "in/p005.parquet")
    elif name == "their order":
        sources = sources[::-1]
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=f"cannot be resumed, since .*{words}.*; pass force=True to begin again"):
        run_file(**{"operation": "rank", "source": sources, "sink": out, "resume": True, **given})
    assert contents(tmp_path) == before


def test_what_changes_no_number_may_change(monkeypatch, inputs, out):
    stopped(monkeypatch, 2, "rank", inputs, out)
    assert run_file("rank", inputs, out, resume=True, threads=1, memory="8GiB", engine="processes").resumed == 2


@pytest.mark.parametrize("torn", [1, 20, -1])
def test_a_torn_line_was_never_written(tmp_path, monkeypatch, inputs, out, torn):
    stopped(monkeypatch, 3, "rank", inputs, out)
    path = tmp_path / "out" / MANIFEST
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + last[:torn])
    assert run_file("rank", inputs, out, resume=True).resumed == 2
    assert [line.get("shard") for line in lines(out)[1:6]] == [path.name for path in inputs]


def test_a_torn_first_line_is_no_manifest(tmp_path, monkeypatch, inputs, out):
    stopped(monkeypatch, 1, "rank", inputs, out)
    path = tmp_path / "out" / MANIFEST
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(OutputError, match=r"p000\.parquet: exists already; pass force=True"):
        run_file("rank", inputs, out, resume=True)
    assert run_file("rank", inputs, out, force=True).resumed == 0


@pytest.mark.parametrize("how", ["gone", "cut short", "unlisted", "without its groups"])
def test_a_file_that_is_not_as_it_was_written_is_computed_again(tmp_path, monkeypatch, inputs, out, how):
    stopped(monkeypatch, 3, "rank", inputs, out)
    path = tmp_path / "out/p001.parquet"
    whole = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "cut short":
        path.write_bytes(whole[:-1])
    elif how == "unlisted":  # killed between the file's name and its line
        (tmp_path / "out/p003.parquet").write_bytes(b"")
    else:
        (tmp_path / "out/.lapsum-groups/000001").unlink()
    assert run_file("rank", inputs, out, resume=True).resumed == (3 if how == "unlisted" else 2)
    assert path.read_bytes() == whole
    run_file("rank", inputs, tmp_path / "one.parquet")
    assert together(tmp_path / "out").equals(pq.read_table(tmp_path / "one.parquet"))


def test_force_replaces_a_data_set_and_what_it_had(tmp_path, inputs, out):
    run_file("rank", inputs, out)
    (tmp_path / "out/mine.txt").touch()
    run_file("topk", inputs[:2], out, k=1, force=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(MANIFEST, "mine.txt", "p000.parquet", "p001.parquet")
    ]
    assert "soft_topk" in pq.read_schema(tmp_path / "out/p000.parquet").names


def test_a_file_in_the_way_is_kept(tmp_path, inputs, out):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/p003.parquet").write_text("mine")
    before = contents(tmp_path)
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"p003\.parquet: exists already; pass force=True to replace it"):
            run_file("rank", inputs, out, resume=resume)
    assert contents(tmp_path) == before


def test_two_runs_do_not_write_into_one_directory(tmp_path, monkeypatch, inputs, out):
    stopped(monkeypatch, 1, "rank", inputs, out)
    other = manifest.Manifest(out)
    with pytest.raises(OutputError, match="another run writes here"):
        run_file("rank", inputs, out, resume=True)
    other.close()
    assert run_file("rank", inputs, out, resume=True).resumed == 1


def test_groups_that_return_are_found_by_a_resumed_run(tmp_path, monkeypatch, out):
    table = scored([4, 3, 5])
    table = table.set_column(0, "qid", [list("aaaabbbaaaaa")])
    inputs = written(table, tmp_path / "in", [7])
    stopped(monkeypatch, 1, "rank", inputs, out)
    with pytest.raises(DataError, match=r'p001\.parquet, row 1: qid "a" appears again'):
        run_file("rank", inputs, out, resume=True)
    assert files(tmp_path / "out") == []


def test_an_error_says_how_many_are_finished_and_how_to_go_on(tmp_path, inputs):
    table = scored()
    pq.write_table(table.slice(50).set_column(2, "score", [[None] * 37]), inputs[4])
    done = run("rank", *inputs, "-o", f"{tmp_path}/out/")
    assert done.returncode == 65
    *_, resumable, error = done.stderr.decode().splitlines()
    assert resumable.endswith("out/: 3 of 5 files are finished; --resume goes on with the rest")
    assert "the score is NaN or null" in error


def test_the_command_says_what_it_plans_and_did(tmp_path, inputs):
    out = f"{tmp_path}/out/"
    planned = run("topk", "-k", 3, *inputs, "-o", out, "--dry-run", "-q")
    assert (planned.returncode, planned.stderr) == (0, b"")
    first, *_, files_, workers, heads, rows = planned.stdout.decode().splitlines()
    assert first.startswith("p000.parquet: 9 rows of ")
    assert first.endswith(f"and the head of {inputs[1]}")
    assert files_.startswith("files: 5, of ")
    assert "MiB and" in workers
    assert (heads[:7], rows) == ("pass 1:", "pass 2: all rows, to compute and write")
    assert json.loads(run("topk", "-k", 3, *inputs, "-o", out, "--dry-run", "--json").stdout)["shards"][0]["rows"] == 9
    done = run("topk", "-k", 3, *inputs, "-o", out)
    assert done.stderr.decode().splitlines()[-1] == f"lapsum: 87 scores in 8 rankings -> {out}: 5 files"
    (tmp_path / "out/p002.parquet").unlink()
    done = run("topk", "-k", 3, *inputs, "-o", out, "--resume")
    assert done.stderr.decode().splitlines()[-1].endswith("-> " + out + ": 5 files, 4 of them finished before")
    told = json.loads(run("topk", "-k", 3, *inputs, "-o", out, "--resume", "--json", "-q").stdout)
    assert told == {
        **{"rows": 87, "rankings": 8, "scores": 87, "written": 87, "short": 3, "nan": 0, "shards": 5, "resumed": 5}
    }
    refused = run("topk", "-k", 3, *inputs, "-o", out)
    assert refused.returncode == 73
    assert b"pass --resume to go on with it, or --force to replace it" in refused.stderr


class Heard(Silent):
    def __init__(self):
        self.told = []

    def files(self, done, total):
        self.told.append(("files", done, total))

    def progress(self, rows, total):
        self.told.append(("rows", rows))

    def read(self, share):
        self.told.append(("share", share))


@pytest.mark.parametrize("engine", [{}, {"engine": "processes", "workers": 2, "memory": "8GiB"}])
def test_progress_is_told_in_files_rows_and_shares(inputs, out, engine):
    words = Heard()
    run_file("rank", inputs, out, words=words, **engine)
    assert [one[1:] for one in words.told if one[0] == "files"] == [(i, 5) for i in range(6)]
    for kind, last in (("rows", 87), ("share", 1.0)):
        values = [one[1] for one in words.told if one[0] == kind]
        assert values == sorted(values)
        assert values[-1] == last


@pytest.mark.parametrize("is_there", [False, True])
def test_a_run_that_finishes_nothing_leaves_nothing(tmp_path, out, is_there):
    table = scored(hole=pa.array([None, *[1.0] * 86]))
    inputs = written(table, tmp_path / "in/a", [40])
    if is_there:
        os.mkdir(out)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="is NaN or null"):
        run_file("rank", tmp_path / "in", out, score="hole")
    assert sorted(tmp_path.rglob("*")) == before
    assert run_file("rank", inputs, out).resumed == 0


def test_a_run_that_was_killed_before_a_file_was_finished_may_begin_again(tmp_path, monkeypatch, inputs, out):
    stopped(monkeypatch, 1, "rank", inputs, out)
    path = tmp_path / "out" / MANIFEST
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    (tmp_path / "out/p000.parquet").unlink()
    assert run_file("rank", inputs, out).resumed == 0
