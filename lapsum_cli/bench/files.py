"""The benchmark from file to file: whole processes, on files made for it, in a folder that is removed afterwards.

long Parquet    qid, docid (int64) and score (float32), 100 rows a query, zstd: lapsum beside tools that rank such a
                file, and pyarrow, which copies it and adds a column
NPY matrix      five times as many scores, a ranking in each 100: lapsum beside cat
NPY vector      the same scores as one ranking

All files have been read before, and so are in the cache if that holds them; every output is on the disk when the clock
stops.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import IOFailed, OptionError
from .cases import Case, Choice, Measured, k_of
from .filecheck import check_array, check_table, keeps_order
from .peers import Peer
from .turns import Side, Times, process, take_turns

OPERATIONS = ("rank", "topk")
QUERY = 100  # rows
PART = 1 << 20  # rows that are drawn, and written, at a time
NPY_TIMES = 5  # as many scores in an NPY file as rows in the Parquet
ROOM = 160  # bytes a row: seven Parquet files, or an NPY of its five scores and three outputs, one of them float64
TOOLS = Path(__file__).with_name("filepeers.py")
COPY = ["sh", "-c", 'cat "$1" > "$2" && sync "$2"', "sh"]


@dataclass(frozen=True)
class FileCase(Case):
    """A case whose scores come from a file and whose results go to one; without threads, lapsum takes what it likes."""

    file: str
    threads: int | None

    def __str__(self):
        return f"{self.operation} {self.file} {self.shape}"


@dataclass(frozen=True)
class MeasuredFile(Measured):
    """reordered: the peers that do not keep the order of the rows."""

    reordered: tuple[str, ...]


@dataclass(frozen=True)
class FileBench:
    """All file cases of one run of the benchmark."""

    choice: Choice
    rows: int  # of the long Parquet
    temp_dir: str | None
    peers: list[Peer]
    runs: int

    def __post_init__(self):
        if self.rows < QUERY:
            raise OptionError(f"--rows must be {QUERY} or more, got {self.rows}")
        if not self.operations:
            raise OptionError(f"--files times {' and '.join(OPERATIONS)}, not {', '.join(self.choice.operations)}")
        for case in (*self.cases("", self.queries, QUERY), *self.cases("", 1, self.scores)):
            k_of(self.choice.k, case.length, case.operation)
        if not os.path.isdir(self.directory):
            raise OptionError(f"--temp-dir {self.directory}: no such directory")
        free = shutil.disk_usage(self.directory).free
        if free < self.rows * ROOM:
            raise IOFailed(
                f"{self.directory}: {self.rows} rows need {self.rows * ROOM >> 20} MiB for a while, {free >> 20} MiB "
                "are free; lower --rows, or name another --temp-dir"
            )

    @property
    def operations(self) -> list[str]:
        return [name for name in OPERATIONS if name in self.choice.operations]

    @property
    def directory(self) -> str:
        return self.temp_dir or tempfile.gettempdir()

    @property
    def queries(self) -> int:
        return self.rows // QUERY

    @property
    def scores(self) -> int:
        return self.queries * QUERY * NPY_TIMES

    def cases(self, file: str, rankings: int, length: int) -> list[FileCase]:
        c = self.choice
        return [
            FileCase(
                op, rankings, length, "float32", "normal", c.alpha, k_of(c.k, length, op), file=file, threads=c.threads
            )
            for op in self.operations
        ]

    def measure(self, notice: Callable[[str], None]) -> Iterator[MeasuredFile]:
        """The cases of one file after the other; no file outlives its turn."""
        for make in (self._parquet, self._matrix, self._vector):
            with tempfile.TemporaryDirectory(prefix="lapsum-bench-", dir=self.directory) as folder:
                yield from make(Path(folder), notice)

    def _parquet(self, folder: Path, notice) -> list[MeasuredFile]:
        cases, source = self.cases("long Parquet", self.queries, QUERY), folder / "in.parquet"
        notice(f"making a long Parquet of {self.queries * QUERY} rows")
        make_long(source, self.queries * QUERY)
        threads = [] if self.choice.threads is None else [str(self.choice.threads)]
        peers = {peer.name: folder / f"{peer.name}.parquet" for peer in self.peers if peer.files}
        others = {
            name: _process([sys.executable, "-P", str(TOOLS), name, str(source), str(sink), *threads], sink)
            for name, sink in peers.items()
        }
        timed = self._timed(cases, source, others, check_table, notice)
        reordered = tuple(name for name, sink in peers.items() if not keeps_order(name, source, sink))
        return [MeasuredFile(*case, reordered) for case in timed]

    def _matrix(self, folder: Path, notice) -> list[MeasuredFile]:
        return self._npy(folder, "NPY matrix", (self.scores // QUERY, QUERY), notice)

    def _vector(self, folder: Path, notice) -> list[MeasuredFile]:
        return self._npy(folder, "NPY vector", (self.scores,), notice)

    def _npy(self, folder: Path, file: str, shape: tuple[int, ...], notice) -> list[MeasuredFile]:
        cases, source = self.cases(file, self.scores // shape[-1], shape[-1]), folder / "in.npy"
        notice(f"making an {file} of {self.scores} scores")
        make_npy(source, shape)
        sink = folder / "copy.npy"
        others = {"cat": _process([*COPY, str(source), str(sink)], sink)}
        return [MeasuredFile(*case, ()) for case in self._timed(cases, source, others, check_array, notice)]

    def _timed(
        self, cases, source: Path, others: dict[str, Side], check, notice
    ) -> list[tuple[Case, dict[str, Times], int]]:
        """Each case with its sides and what it moves, of which none is shown if any output of lapsum is wrong."""
        sinks = {case.operation: source.with_name(case.operation + source.suffix) for case in cases}
        sides = {
            case: _process(self._command(case, source, sinks[case.operation]), sinks[case.operation]) for case in cases
        }
        notice(f"{' and '.join(sinks)}, {cases[0].file} {cases[0].shape}")
        times = take_turns(sides | others, self.runs)
        measured = []
        for case in cases:
            sink = sinks[case.operation]
            check(case, source, sink)
            of_others = {name: times[name] for name in others}
            moved = source.stat().st_size + sink.stat().st_size
            measured.append((case, {"lapsum": times[case], **of_others}, moved))
        return measured

    def _command(self, case: FileCase, source: Path, sink: Path) -> list[str]:
        k = ["--k", self.choice.k] if case.operation == "topk" else []
        threads = ["--threads", str(case.threads)] if case.threads else []
        run = [sys.executable, "-m", "lapsum_cli", case.operation, str(source), "-o", str(sink)]
        return [*run, "--alpha", repr(case.alpha), "--quiet", *k, *threads]


def _process(command: list[str], sink: Path) -> Side:
    """A side that writes the sink anew. Arrow has the memory pool of its own choice: lapsum's is not passed on."""
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    return process(command, lambda: sink.unlink(missing_ok=True), environment)


def make_long(path: Path, rows: int) -> None:
    """A Parquet of qid, docid and score."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(7)
    schema = pa.schema([("qid", pa.int64()), ("docid", pa.int64()), ("score", pa.float32())])
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        for start in range(0, rows, PART):
            row = np.arange(start, min(start + PART, rows))
            columns = [row // QUERY, rng.integers(0, 1 << 40, row.size), rng.standard_normal(row.size, np.float32)]
            out.write_table(pa.table(columns, schema=schema), row_group_size=PART)
    sync(path)


def make_npy(path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    scores = np.lib.format.open_memmap(path, "w+", np.float32, shape).reshape(-1)
    for start in range(0, scores.size, PART):
        part = scores[start : start + PART]
        part[:] = rng.standard_normal(part.size, np.float32)
    scores.base.flush()
    sync(path)


def sync(path: Path) -> None:
    """What is being written back while others run would slow them down."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
