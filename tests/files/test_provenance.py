"""What a result says about itself, and that nothing else changes it."""

import gc
import io
import json
import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import LENGTHS, get, long_table, put, rankings, rng

from lapsum_cli import run_file
from lapsum_cli.formats.files import Output
from lapsum_cli.formats.sinks import Made, open_sink


@pytest.mark.parametrize("to", ["parquet", "arrow", "arrows"])
def test_a_result_says_how_it_was_made(tmp_path, to):
    path = put(long_table(rankings()), tmp_path / "scores.parquet")
    sinks = [tmp_path / name / f"out.{to}" for name in ("one", "two")]
    for sink in sinks:
        sink.parent.mkdir()
        run_file("topk", path, sink, k="10%", alpha="0.2std", nan="drop")
    assert sinks[0].read_bytes() == sinks[1].read_bytes()
    metadata = pq.read_metadata(sinks[0]).metadata if to == "parquet" else get(sinks[0]).schema.metadata
    made = json.loads(metadata[b"lapsum"])
    want = {"operation": "topk", "k": ["10%"], "alpha": "0.2std", "nan": "drop", "device": "cpu"}
    assert {name: made.get(name) for name in want} == want
    if to == "parquet":  # the others put their metadata first, when nothing is counted yet
        assert (made["rankings"], made["scores"]) == (len(LENGTHS), sum(LENGTHS))
        assert made["inputs"] == [{"name": "scores.parquet", "rows": sum(LENGTHS)}]


# Every operation, and every gradient; a permutation so hard that its rows are few.
BYTES = {
    "rank": ("rank", {}),
    "rank-gradient": ("rank", {"upstream": "gain", "grad_alpha": True}),
    "sort": ("sort", {}),
    "sort-gradient": ("sort", {"upstream": "gain", "grad_alpha": True}),
    "topk": ("topk", {"k": 10}),
    "topk-gradient": ("topk", {"k": 10, "log": True, "upstream": "gain", "grad_alpha": True, "grad_k": True}),
    "permute": ("permute", {"alpha": 1e-6, "item": "docid"}),
    "loss": ("loss", {"loss": "spearman", "target": "gain"}),
    "loss-mean": ("loss", {"loss": "ndcg", "target": "gain", "reduction": "mean"}),
    "loss-gradient": ("loss", {"loss": "permutation", "target": "gain", "gradient": True, "grad_alpha": True}),
}


@pytest.fixture(scope="module")
def cut_in_two_ways(tmp_path_factory):
    """A table of some 350 000 rows, and two files of it: in row groups of 100 rows, and in one."""
    lengths = rng().integers(1, 400, 1500)
    lengths[700] = 60_000
    rows = rankings(np.float32, lengths)
    table = long_table(rows, gain=rng().integers(0, 5, sum(map(len, rows))).astype(np.float32))
    assert 300_000 < len(table) < 400_000
    files = []
    for row_group in (100, 10**6):
        files.append(tmp_path_factory.mktemp(str(row_group)) / "scores.parquet")
        pq.write_table(table, files[-1], row_group_size=row_group)
    return table, *files


@pytest.mark.parametrize("name", BYTES)
def test_same_file_same_bytes_out(tmp_path, cut_in_two_ways, name):
    """Whatever the memory, the threads, and the row groups of the input."""
    table, small, one = cut_in_two_ways
    operation, options = BYTES[name]
    sink, results = tmp_path / "out.parquet", set()
    for source, memory, threads in [(small, "2GiB", 2), (one, "2GiB", 1), (one, "256MiB", 2)]:
        given = {"score": "score", "group": "qid", **options}
        run_file(operation, source, sink, memory=memory, threads=threads, force=True, **given)
        results.add(sink.read_bytes())
    assert len(results) == 1
    made = pq.read_table(io.BytesIO(results.pop()))
    if name == "sort":
        assert made.select(["qid"]).equals(table.select(["qid"]))
    elif operation in ("rank", "sort", "topk"):
        assert made.select(table.column_names).equals(table)
    else:
        assert len(made) >= (1 if "reduction" in options else 1500)


def test_what_is_abandoned_gets_no_footer(tmp_path):
    """Nor is there an attempt, once the output is closed: Python would complain of it at the end."""
    named_pipe = tmp_path / "out"
    os.mkfifo(named_pipe)
    reader = os.open(named_pipe, os.O_RDONLY | os.O_NONBLOCK)
    schema = pa.schema([("x", pa.float64())])
    with Output(str(named_pipe)) as output:
        sink = open_sink(output, Made("parquet", schema, ["x"], None, {}))
        sink.write(pa.table({"x": np.arange(10.0)}))
        sink.abandon()
    with pytest.MonkeyPatch.context() as patch:
        complaints = []
        patch.setattr(sys, "unraisablehook", complaints.append)
        del sink
        gc.collect()
    assert complaints == []
    assert os.read(reader, 1 << 16) in (b"", b"PAR1")
    os.close(reader)
