"""The benchmark from file to file: whole processes, on files made for it, in a folder that is removed afterwards.

long Parquet    qid, docid (int64) and score (float32), 100 rows a query, zstd: lapsum beside tools that rank such a
                file, and pyarrow, which copies it and adds a column
NPY matrix      five times as many scores, a ranking in each 100: lapsum beside cat
NPY vector      the same scores as one ranking

With --device cuda lapsum has that too, and "cpu" beside it is lapsum without.

Every file has been read before, and so is in the cache if that holds it; every output is on the disk when the clock
stops.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...core.errors import IOFailed, OptionError
from ...formats import temporary
from .cases import Case, Choice, Measured, k_of
from .clock import Side, process, script, take_turns
from .filecheck import check_array, check_table, keeps_order
from .peers import Peer
from .shapes import Even, Shape
from .sources import QUERY, make_npy, make_parquet
from .timed import FROM_FILE_TO_FILE

MOST_ROWS = 1e12
NPY_TIMES = 5  # as many scores in an NPY file as rows in the Parquet
# Bytes a row: seven Parquet files, or an NPY of its five scores and three outputs, one of them float64; with a card two
# outputs more.
ROOM = {"cpu": 160, "cuda": 220}
FILEPEER = script("filepeer")


@dataclass(frozen=True)
class FileCase(Case):
    """A case whose scores come from a file and whose results go to one; without threads, lapsum takes what it likes."""

    file: str

    def __str__(self) -> str:
        return f"{self.operation} {self.file} {self.shape}"


@dataclass(frozen=True)
class MeasuredFile(Measured):
    """reordered: the peers that do not keep the order of the rows."""

    case: FileCase
    reordered: list[str]


@dataclass(frozen=True)
class File:
    """A file to be made: `others` are the commands beside lapsum, by name, each to be followed by IN and OUT."""

    name: str
    suffix: str
    shape: Shape
    make: Callable[[Path], None]
    check: Callable[[Case, Path, Path], None]
    others: dict[str, list[str]]


@dataclass(frozen=True)
class FileBench:
    """The benchmark of all files, `rows` being those of the Parquet."""

    choice: Choice
    rows: float
    temp_dir: str | None
    peers: list[Peer]
    runs: int

    def __post_init__(self) -> None:
        if not QUERY <= self.rows <= MOST_ROWS:
            raise OptionError(f"--rows must be from {QUERY} to {MOST_ROWS:g}, got {self.rows:g}")
        if not any(self.cases(file) for file in self.files()):
            raise OptionError(
                f"--files times {' and '.join(FROM_FILE_TO_FILE)}, not {', '.join(self.choice.operations)}"
            )
        if self.choice.methods != ["lapsum"]:
            raise OptionError(f"--files times the method lapsum, not {', '.join(self.choice.methods)}")
        directory = self.temp_dir or tempfile.gettempdir()
        if not os.path.isdir(directory):
            raise OptionError(f"--temp-dir {directory}: no such directory")
        free, needed = shutil.disk_usage(directory).free, int(self.rows) * ROOM[self.choice.device]
        if free < needed:
            raise IOFailed(
                f"{directory}: {self.rows:g} rows need {needed >> 20} MiB for a while, {free >> 20} MiB are free; "
                "lower --rows, or name another --temp-dir"
            )

    def files(self) -> list[File]:
        """What is to be made, one after the other: the Parquet, the matrix, the vector."""
        queries = int(self.rows) // QUERY
        table, rankings = Even.of(queries, QUERY), queries * NPY_TIMES
        scores = rankings * QUERY
        threads = str(self.choice.threads or "")
        tools = {p.name: [sys.executable, "-P", FILEPEER, p.path, threads] for p in self.peers if p.path}
        # GNU's sync takes a file; others, all there is to write.
        cat = {"cat": ["sh", "-c", 'cat "$1" > "$2" && sync "$2"', "sh"]}
        matrix, vector = (partial(make_npy, shape=shape) for shape in ((rankings, QUERY), (scores,)))
        return [
            File("long Parquet", ".parquet", table, partial(make_parquet, shape=table), check_table, tools),
            File("NPY matrix", ".npy", Even.of(rankings, QUERY), matrix, check_array, cat),
            File("NPY vector", ".npy", Even.of(1, scores), vector, check_array, cat),
        ]

    def cases(self, file: File) -> list[FileCase]:
        """The operations on a file, of those that were chosen."""
        c = self.choice
        return [
            FileCase(
                operation=operation,
                shape=file.shape,
                dtype="float32",
                scores="normal",
                alpha=c.alpha,
                k=k_of(c.k, file.shape, operation),
                threads=c.threads,
                file=file.name,
            )
            for operation in FROM_FILE_TO_FILE
            if operation in c.operations
        ]

    def measure(self, notice: Callable[[str], None]) -> Iterator[MeasuredFile]:
        """The cases of one file after the other; no file outlives its turn."""
        for file in self.files():
            with temporary.folder(self.temp_dir or tempfile.gettempdir(), "lapsum-bench-") as folder:
                notice(f"{file.name} of {file.shape.total} scores")
                yield from self._measured(file, folder)

    def _measured(self, file: File, folder: Path) -> list[MeasuredFile]:
        """All sides run in turn; none of their times is shown if an output is wrong."""
        cases, source = self.cases(file), folder / f"in{file.suffix}"
        file.make(source)
        own = {f"{case.operation}-{name}": (case, name) for case in cases for name in self._own}
        sinks = {side: folder / f"{side}{file.suffix}" for side in (*own, *file.others)}
        commands = {
            side: self._lapsum(case, source, sinks[side], self._own[name]) for side, (case, name) in own.items()
        }
        commands |= {name: [*start, str(source), str(sinks[name])] for name, start in file.others.items()}
        times = take_turns({name: writing(sinks[name], command) for name, command in commands.items()}, self.runs)
        for side, (case, _) in own.items():
            file.check(case, source, sinks[side])
        tables = file.others if file.suffix == ".parquet" else ()
        reordered = [name for name in tables if not keeps_order(name, source, sinks[name])]
        measured = []
        for case in cases:
            sides = {name: times[f"{case.operation}-{name}"] for name in self._own}
            sides |= {name: times[name] for name in file.others}
            moved = source.stat().st_size + sinks[f"{case.operation}-lapsum"].stat().st_size
            measured.append(MeasuredFile(case, sides, moved, reordered))
        return measured

    @property
    def _own(self) -> dict[str, list[str]]:
        """lapsum, and beside a card lapsum without it, with the options that make it so."""
        return {"lapsum": []} if self.choice.device == "cpu" else {"lapsum": ["--device", "cuda"], "cpu": []}

    def _lapsum(self, case: FileCase, source: Path, sink: Path, options: list[str]) -> list[str]:
        threads = ["--threads", str(case.threads)] if case.threads else []
        return [*command_of(case.operation, source, sink, repr(case.alpha), self.choice.k), *threads, *options]


def command_of(operation: str, source: Path, sink: Path, alpha: str, k: str) -> list[str]:
    """`lapsum OPERATION` from file to file, in a process of its own."""
    top = ["--k", k] if operation == "topk" else []
    run = [sys.executable, "-m", "lapsum_cli", operation, str(source), "-o", str(sink)]
    return [*run, "--alpha", alpha, "--quiet", *top]


def writing(sink: Path, command: list[str], cache: Path | None = None) -> Side:
    """A process that writes the sink anew. Arrow has the memory pool of its own choice: lapsum's is not passed on.

    cache: a folder that is made empty before, for kernels that are compiled; by default that of this process.
    """
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    if cache:
        environment["LAPSUM_CACHE_DIR"] = str(cache)

    def prepare() -> None:
        sink.unlink(missing_ok=True)
        if cache:
            shutil.rmtree(cache, ignore_errors=True)
            cache.mkdir()

    return process(command, prepare, environment)
