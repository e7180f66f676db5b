"""Runs of the command that are killed: their processes, and what they leave."""

import contextlib
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from commands import LAPSUM, run
from cut_tables import together, written

from lapsum_cli.formats.places import MANIFEST


def large_set(folder):
    """Twelve files whose queries straddle them, and the results of one output."""
    drawn = np.random.default_rng(0)
    rows = 400_000
    table = pa.table({"qid": np.arange(rows) // 37, "score": drawn.normal(size=rows).astype(np.float32)})
    written(table, folder / "in", [int(cut) for cut in np.sort(drawn.integers(0, rows, 11))], rows=20_000)
    assert run("rank", folder / "in", "-o", folder / "one.parquet", "-q").returncode == 0
    return folder


def children(pid):
    """The processes that it started, and those started by these."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    with contextlib.suppress(OSError):
        found = [int(child) for child in path.read_text().split()]
        return found + [below for child in found for below in children(child)]
    return []


def until(condition):
    patience = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.005)


def started(*args):
    return subprocess.Popen([*LAPSUM, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def is_whole(folder, large):
    return together(folder).equals(pq.read_table(large / "one.parquet"))


def listed(folder):
    """The files that the manifest in it lists, where its line is whole."""
    with contextlib.suppress(OSError):
        lines = (folder / MANIFEST).read_bytes().splitlines(keepends=True)
        return [folder / json.loads(line)["shard"] for line in lines if line[:8] == b'{"shard"' and line[-1:] == b"\n"]
    return []
