"""The installed command, run as a shell would run it."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

LAPSUM = [sys.executable, "-m", "lapsum_cli"]


def run(*args, stdin=None, cwd=None, **options) -> subprocess.CompletedProcess:
    """Run `lapsum ARGS`; stdin, stdout and stderr are bytes, and without `stdin` there is nothing to read."""
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    options = {"timeout": 120, **source, **options}
    return subprocess.run([*LAPSUM, *map(str, args)], capture_output=True, cwd=cwd, **options)


def refusal(stderr: bytes) -> str:
    """The one line that a refusal says."""
    lines = stderr.decode().splitlines()
    assert len(lines) == 1, f"one line was expected, not: {stderr.decode()}"
    assert lines[0].startswith("lapsum: ")
    return lines[0]


def contents(folder) -> dict:
    """Every file below a folder, and its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def parquet(path, **columns) -> None:
    """A Parquet file of these columns, four rows a group."""
    pq.write_table(pa.table(columns), path, row_group_size=4)
