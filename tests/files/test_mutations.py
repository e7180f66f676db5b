"""Files of every format with faults put into them: whatever becomes of one, the process lives and says a line.

LAPSUM_MUTATIONS: how many of each format, by default some; seeds are the numbers from LAPSUM_SEED on.
"""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mutations import mutated, outcomes
from tables import TABLES, put

CASES, SEED = int(os.environ.get("LAPSUM_MUTATIONS", "60")), int(os.environ.get("LAPSUM_SEED", "0"))


def whole(folder, format):
    """A file of every kind of column that the format has, and of two batches or row groups."""
    rng = np.random.default_rng(1)
    n = 40
    columns = {"score": rng.standard_normal(n), "qid": np.arange(n) // 8, "text": [f"text {i % 7}" for i in range(n)]}
    if format == "npy":
        np.save(folder / "whole.npy", columns["score"].reshape(8, 5))
        return folder / "whole.npy"
    if format not in ("csv", "tsv"):
        columns["lists"] = [[float(i), None] * (i % 3) for i in range(n)]
    if format not in ("csv", "tsv", "jsonl"):
        columns["kind"] = pa.array(columns["text"]).dictionary_encode()
        columns["view"] = pa.array(columns["text"], pa.string() if format == "parquet" else pa.string_view())
        columns["struct"] = [{"a": i, "b": "x" * i} if i % 5 else None for i in range(n)]
    path = folder / f"whole.{format}"
    if format == "parquet":
        pq.write_table(pa.table(columns), path, row_group_size=25, compression=None)
        return path
    return put(pa.table(columns), path)


@pytest.mark.faults
@pytest.mark.parametrize("format", [*TABLES, "npy"])
def test_a_damaged_file_is_read_or_refused(tmp_path, format):
    data = whole(tmp_path, format).read_bytes()
    paths = []
    for seed in range(SEED, SEED + CASES):
        paths.append(tmp_path / f"{seed}.{format}")
        paths[-1].write_bytes(mutated(data, seed))
    found = outcomes([tmp_path / f"whole.{format}", *paths])
    assert len(found) == CASES + 1
    assert found[tmp_path / f"whole.{format}"][0] == "done"
    wrong = {path.name: outcome for path, outcome in found.items() if outcome[0] not in ("done", "refused")}
    assert not wrong, json.dumps(wrong, indent=1)
