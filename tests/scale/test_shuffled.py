"""Data sets whose rows come in any order: the files are those of one output, wherever the input is cut."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cut_tables import SHAPES, files, scored, together, written
from hypothesis import given, settings
from hypothesis import strategies as some
from tables import TABLES, get

from lapsum_cli import DataError, OptionError, OutputError, run_file
from lapsum_cli.engines.manifest import Manifest
from lapsum_cli.flow.segments import Segments, rows_in, segment_of
from lapsum_cli.formats.places import MANIFEST

OPERATIONS = {
    "rank": ("rank", {}),
    "topk": ("topk", {"k": "3", "threshold": True}),
    "only-top": ("topk", {"k": "3", "minimum": 0.5}),
    "ordered": ("topk", {"k": "3", "only_top": True, "order": True}),
    "sort": ("sort", {"keep": "docid"}),
    "permute": ("permute", {}),
    "loss": ("loss", {"loss": "ndcg,mrr", "target": "label"}),
    "mean gradient": ("loss", {"loss": "ndcg", "target": "label", "gradient": True, "reduction": "mean"}),
}


def mixed(table, seed=3):
    """Its rows in no order."""
    return table.take(pa.array(np.random.default_rng(seed).permutation(len(table))))


def same(tmp_path, name, inputs, format="parquet", **more):
    """Whether the results of a data set are those of one output; what was done."""
    operation, options = OPERATIONS[name]
    one = run_file(operation, inputs, tmp_path / f"one.{format}", sort_groups=True, **options)
    done = run_file(operation, inputs, f"{tmp_path}/out/", sort_groups=True, **options, **more)
    assert together(tmp_path / "out", format).equals(get(tmp_path / f"one.{format}"))
    assert done.shards == len(inputs) == len(files(tmp_path / "out", format))
    for told in ("rows", "rankings", "scores", "written", "short", "alone"):
        assert getattr(done, told) == getattr(one, told), told
    assert done.loss == pytest.approx(one.loss, abs=1e-12)
    assert not (tmp_path / "out" / ".lapsum-shuffle").exists()
    return done


@pytest.mark.parametrize(
    ("name", "shape"),
    [*((name, shape) for name in OPERATIONS for shape in ("straddling", "empty files")), ("topk", "a row a file")],
)
def test_results_are_those_of_one_output(tmp_path, name, shape):
    same(tmp_path, name, written(mixed(scored()), tmp_path / "in", SHAPES[shape]))


@pytest.mark.parametrize("format", TABLES)
def test_in_every_format_of_tables(tmp_path, format):
    same(tmp_path, "topk", written(mixed(scored()), tmp_path / "in", SHAPES["straddling"], format), format)


@settings(max_examples=15)
@given(some.lists(some.integers(1, 12), min_size=1, max_size=12), some.data())
def test_however_a_table_is_cut(tmp_path_factory, lengths, drawn):
    tmp_path = tmp_path_factory.mktemp("cut")
    total = sum(lengths)
    cuts = sorted(drawn.draw(some.lists(some.integers(0, total), max_size=6)))
    table = mixed(scored(lengths), drawn.draw(some.integers(0, 99)))
    same(tmp_path, drawn.draw(some.sampled_from(list(OPERATIONS))), written(table, tmp_path / "in", cuts, rows=3))


def test_rows_are_those_of_their_file(tmp_path):
    inputs = written(mixed(scored()), tmp_path / "in", SHAPES["even"])
    run_file("rank", inputs, f"{tmp_path}/out/", sort_groups=True)
    for source, result in zip(inputs, files(tmp_path / "out"), strict=True):
        assert pq.read_table(result).select(["qid", "docid"]).equals(pq.read_table(source).select(["qid", "docid"]))


def test_whoever_computes_them(tmp_path):
    inputs = written(mixed(scored()), tmp_path / "in", SHAPES["even"])
    for engine in ({"engine": "threads"}, {"engine": "processes", "workers": 2}):
        run_file("rank", inputs, f"{tmp_path}/{engine['engine']}/", sort_groups=True, **engine)
    for one, other in zip(files(tmp_path / "threads"), files(tmp_path / "processes"), strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("finished", [1, 3, 4, 6, 8, 11])  # of 4 files, 4 segments and 4 results
def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch, finished):
    """What tasks leave to each other is used again where it is whole, and made again where it is not."""
    inputs = written(mixed(scored()), tmp_path / "in", SHAPES["even"])
    same(tmp_path, "rank", inputs)
    out, add, count = tmp_path / "stopped", Manifest.add, iter(range(99))

    def stop(manifest, line):
        if next(count) == finished:
            raise KeyboardInterrupt
        add(manifest, line)

    monkeypatch.setattr(Manifest, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        run_file("rank", inputs, f"{out}/", sort_groups=True)
    monkeypatch.setattr(Manifest, "add", add)
    seen = (out / MANIFEST).read_text().splitlines()
    lost = out / ".lapsum-shuffle/rows-000000"
    if finished == 3:
        lost.unlink()
    run_file("rank", inputs, f"{out}/", sort_groups=True, resume=True)
    assert [path.read_bytes() for path in files(out)] == [path.read_bytes() for path in files(tmp_path / "out")]
    lines = (out / MANIFEST).read_text().splitlines()
    assert lines[: len(seen)] == seen
    assert len(lines) == 1 + 12 + 1 + (finished == 3)
    assert not lost.parent.exists()
    with pytest.raises(OutputError, match="sort_groups was True, and is False"):
        run_file("rank", inputs, f"{out}/", resume=True)


def test_a_wrong_score_is_named_where_it_stands(tmp_path):
    table = mixed(scored())
    at = table.schema.get_field_index("score")
    wrong = table["score"].to_pylist()
    wrong[50] = float("nan")
    inputs = written(table.set_column(at, "score", pa.array(wrong)), tmp_path / "in", SHAPES["even"])
    with pytest.raises(DataError, match=r"p002.parquet, row 11 \(qid"):  # 40 rows come before that file
        run_file("rank", inputs, f"{tmp_path}/out/", sort_groups=True)


def test_what_cannot_be_is_refused(tmp_path):
    inputs = written(mixed(scored()), tmp_path / "in", SHAPES["even"])
    with pytest.raises(OptionError, match="that tells rankings apart"):
        run_file(
            "rank",
            written(scored().select(["score"]), tmp_path / "alone", [20]),
            f"{tmp_path}/out/",
            **{"sort_groups": True},
        )
    assert not os.path.exists(tmp_path / "out")
    plan = run_file("rank", inputs, f"{tmp_path}/out/", sort_groups=True, dry_run=True)
    assert len(plan.passes) == 3
    assert not os.path.exists(tmp_path / "out")


@settings(max_examples=20)
@given(some.lists(some.integers(0, 9), max_size=60), some.integers(1, 7), some.sampled_from([0, 100, 1 << 20]))
def test_segments_are_what_was_added(tmp_path_factory, numbers, step, limit):
    path = str(tmp_path_factory.mktemp("segments") / "file")
    rows = pa.table({"segment": pa.array(numbers, pa.int64()), "row": np.arange(len(numbers))})
    with open(path, "wb") as file:
        out = Segments(file, limit, lambda table: np.asarray(table["segment"]).astype(np.uint16))
        for batch in rows.to_batches(max_chunksize=step):
            out.add(batch)
        out.close()
    assert rows_in(path) == len(numbers)
    for segment in range(11):
        found = [row for batch in segment_of(path, segment) for row in batch["row"].to_pylist()]
        assert found == [i for i, number in enumerate(numbers) if number == segment]
