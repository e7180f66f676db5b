"""Memory, threads and temporary disks that are used up: never told as a fault of the data."""

import io
import os
import resource

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import refusal, run

pytestmark = pytest.mark.faults


def limited(kind, most):
    return lambda: resource.setrlimit(kind, (most, most))


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_full_disk_under_the_copy_of_a_pipe_is_no_damage(tmp_path, format):
    table, file = pa.table({"score": np.random.default_rng(0).normal(size=100_000)}), io.BytesIO()
    if format == "parquet":
        pq.write_table(table, file)
    else:
        with pa.ipc.new_file(file, table.schema) as out:
            out.write_table(table)
    small = limited(resource.RLIMIT_FSIZE, 100_000)
    done = run("rank", "-", "-q", "-o", tmp_path / "out.csv", stdin=file.getvalue(), preexec_fn=small)
    assert (done.returncode, refusal(done.stderr)) == (
        74,
        "lapsum: the temporary copy of -: writing failed: File too large; nothing was kept",
    )


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_memory_that_is_used_up_is_no_damage(tmp_path, format):
    """One text of 1 GB, and 1.5 GB of addresses beside what the process has mapped with everything loaded."""
    path = tmp_path / f"in.{format}"
    table = pa.table({"docid": pa.array(["0" * (1 << 30), "1"]), "score": [1.0, 2.0]})
    if format == "parquet":
        pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    else:
        with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as out:
            out.write_table(table)
    enough = limited(resource.RLIMIT_AS, int(2.2e9))
    done = run(
        "rank",
        path,
        "-q",
        "-o",
        tmp_path / "out.csv",
        preexec_fn=enough,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 74, done.stderr
    assert "out of memory" in refusal(done.stderr)
    assert "damaged" not in refusal(done.stderr)
    assert not (tmp_path / "out.csv").exists()
