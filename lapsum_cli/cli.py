"""The command line: options and their words, errors as one line and an exit code. Only this file prints."""

from __future__ import annotations

import functools
import os
import signal
import sys
from typing import Annotated

import typer

from . import __version__
from .errors import IOFailed, LapsumError, OptionError

app = typer.Typer(
    help="Differentiable ranks and top-k memberships for files of ranking scores.",
    epilog="Start with: lapsum rank scores.parquet -o ranks.parquet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Parquet, NPY, Arrow, CSV, TSV or JSON lines: files, globs, a directory of Parquet, or - for a pipe. "
        "Several are read as one, in order.",
        show_default=False,
    ),
]
Sink = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Write here, whole or not at all. Default: standard output.",
        show_default=False,
    ),
]
AlphaOption = Annotated[
    str | None,
    typer.Option(
        "--alpha",
        metavar="A",
        help="Softness, in the unit of the scores (0.1) or in standard deviations of each ranking (0.1std).",
        show_default="0.1std",
    ),
]
AlphaColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="Take alpha of each ranking from this column.")]
Ascending = Annotated[bool, typer.Option("--ascending", help="Best is the smallest score instead of the largest.")]
Group = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="Columns whose consecutive equal values make a ranking. Default: detected (qid, query_id ...).",
    ),
]
Score = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The scores, or lists of them. Default: detected (score, pred ...)."),
]
Columns = Annotated[
    str | None, typer.Option(metavar="'S_*'", help="Wide tables: each row is a ranking of the columns that match.")
]
Column = Annotated[str | None, typer.Option("--column", metavar="NAME", help="Name of the result.")]
Nan = Annotated[
    str,
    typer.Option(
        "--nan",
        metavar="error|last|drop",
        help="NaN and null scores: refuse, rank last, or leave out (their result is null).",
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FORMAT",
        help="parquet, npy, arrow, arrows, csv, tsv or jsonl. Default: by extension, then content.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="FORMAT", help="As --from. Default: by extension; standard output is CSV, or NPY for NPY."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Most memory to hold, such as 512MiB. Default: a quarter of the limit in force, at most 4GiB.",
    ),
]
Threads = Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads that compute. Default: one a core.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def _command(function):
    """A command of the app, with one line for what the user can fix, and the exit codes of sysexits.h.

    Errors end here, before Typer sees them: it would leave with 1 on a closed pipe and with a traceback on a full disk.
    """

    @functools.wraps(function)
    def guarded(*args, **options):
        try:
            function(*args, **options)
        except LapsumError as error:
            _fail(str(error), error.exit_code)
        except BrokenPipeError:
            _leave(128 + signal.SIGPIPE)  # whoever read has what it wanted
        except KeyboardInterrupt:
            _leave(128 + signal.SIGINT)
        except SystemExit as end:
            _leave(end.code)
        except MemoryError as error:
            _fail(f"out of memory: {error}; lower --memory or --threads", IOFailed.exit_code)
        except OSError as error:
            _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", IOFailed.exit_code)

    return app.command()(guarded)


@_command
def rank(
    sources: Sources,
    output: Sink = None,
    alpha: AlphaOption = None,
    alpha_column: AlphaColumn = None,
    ascending: Ascending = False,
    base: Annotated[int, typer.Option(metavar="0|1", help="The best possible rank.")] = 1,
    group: Group = None,
    score: Score = None,
    columns: Columns = None,
    column: Column = None,
    nan: Nan = "error",
    from_format: From = None,
    to_format: To = None,
    force: Force = False,
    memory: Memory = None,
    threads: Threads = None,
    quiet: Quiet = False,
):
    """Soft ranks: the largest score of a ranking is near 1, and they sum to n(n+1)/2.

    r_i = base + sum over j != i of F((x_j - x_i) / alpha), with F the CDF of the Laplace distribution. Ties share
    their mean rank.
    """
    made = {"descending": not ascending, "base": base}
    _run("rank", locals() | {"made": made})


@_command
def topk(
    sources: Sources,
    output: Sink = None,
    k: Annotated[
        str | None,
        typer.Option(
            "--k",
            metavar="K",
            help="How many are at the top: 10, 2.5, 10% of each ranking, or 10,100 for a column each.",
        ),
    ] = None,
    k_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Take k of each ranking from this column.")
    ] = None,
    strict_k: Annotated[
        bool, typer.Option("--strict-k", help="Refuse a ranking shorter than k instead of taking all of it.")
    ] = False,
    minimum: Annotated[
        float | None, typer.Option("--min", metavar="P", help="Write only items with a membership of at least P.")
    ] = None,
    threshold: Annotated[bool, typer.Option("--threshold", help="Also write each ranking's threshold b.")] = False,
    alpha: AlphaOption = None,
    alpha_column: AlphaColumn = None,
    ascending: Ascending = False,
    group: Group = None,
    score: Score = None,
    columns: Columns = None,
    column: Column = None,
    nan: Nan = "error",
    from_format: From = None,
    to_format: To = None,
    force: Force = False,
    memory: Memory = None,
    threads: Threads = None,
    quiet: Quiet = False,
):
    """Soft top-k: memberships in [0, 1] that sum to k in every ranking.

    p_i = F((x_i - b) / alpha), with F the CDF of the Laplace distribution and the threshold b such that they sum to k.
    """
    made = {"largest": not ascending, "strict": strict_k, "minimum": minimum, "threshold": threshold}
    _run("topk", locals() | {"made": made})


def _run(name: str, given: dict) -> None:
    """The act of every operation's command."""
    from .api import make_operation
    from .layouts import Names
    from .stream import run

    say = _Voice(given["quiet"])
    made = given["made"] | ({"column": given["column"]} if given["column"] else {})
    operation = make_operation(
        name, given["alpha"], given.get("k"), given["alpha_column"], given.get("k_column"), **made
    )
    if given["nan"] not in ("error", "last", "drop"):
        raise OptionError(f"--nan must be error, last or drop, got {given['nan']!r}")
    group = tuple(part.strip() for part in given["group"].split(",")) if given["group"] else None
    to_terminal = given["output"] is None and sys.stdout.isatty()
    if to_terminal and given["to_format"] not in (None, "csv", "tsv", "jsonl"):
        raise OptionError(
            f"--to {given['to_format']} is binary and would upset the terminal; write to a file with -o, or into a pipe"
        )
    with say.progress() as progress:
        summary = run(
            operation,
            given["sources"],
            given["output"],
            names=Names(group, given["score"], given["columns"], given["alpha_column"], given.get("k_column")),
            nan=given["nan"],
            from_format=given["from_format"],
            to_format=given["to_format"],
            force=given["force"],
            memory=given["memory"],
            threads=given["threads"],
            notice=say.line,
            progress=progress,
            terminal=_Preview if to_terminal else None,
        )
    if summary.short:
        say.line(
            f"{summary.short} of {summary.rankings} rankings have fewer scores than k; all of theirs are in "
            "(--strict-k refuses them)"
        )
    if summary.nan:
        say.line(f"{summary.nan} NaN or null scores were left out; their result is null")
    say.line(
        f"{summary.scores} scores in {summary.rankings} rankings"
        + (f" -> {given['output']}" if given["output"] else "")
    )


class _Voice:
    """Words on stderr; progress there too, when it is a terminal."""

    def __init__(self, quiet: bool):
        self.quiet = quiet

    def line(self, text: str) -> None:
        if not self.quiet:
            print(f"lapsum: {text}", file=sys.stderr, flush=True)

    def progress(self):
        import contextlib

        if self.quiet or not sys.stderr.isatty():
            return contextlib.nullcontext(lambda rows, total: None)
        return _progress_bar()


def _progress_bar():
    from contextlib import contextmanager

    @contextmanager
    def shown():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        layout = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*layout, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("rows", total=None)
            yield lambda rows, total: bar.update(task, completed=rows, total=total)

    return shown()


class _Preview:
    """What a terminal gets instead of a file: the first rows as a table, and how many follow."""

    ROWS = 10

    def __init__(self, schema):
        self.schema, self.tables, self.rows = schema, [], 0

    def write(self, table) -> None:
        if self.rows < self.ROWS:
            self.tables.append(table.slice(0, self.ROWS - self.rows))
        self.rows += len(table)

    def abandon(self) -> None:
        pass

    def close(self, metadata: dict) -> None:
        import pyarrow as pa
        from rich.console import Console
        from rich.table import Table

        shown = Table(*self.schema.names)
        for row in pa.concat_tables(self.tables or [self.schema.empty_table()]).to_pylist():
            shown.add_row(*(_cell(value) for value in row.values()))
        console = Console()
        console.print(shown)
        if self.rows > self.ROWS:
            console.print(f"and {self.rows - self.ROWS} more rows; write them all with -o PATH")


def _cell(value) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(_cell(v) for v in value[:4]) + (", ..." if len(value) > 4 else "") + "]"
    return "" if value is None else str(value)


@_command
def doctor(
    warm: Annotated[bool, typer.Option("--warm", help="Compile every kernel now, so that no later run waits.")] = False,
):
    """What lapsum finds on this machine: versions, cores, memory limit, compiled kernels, GPU."""
    from .doctor import report

    for name, value in report(warm):
        print(f"{name:<10} {value}")


@_command
def bench(
    operations: Annotated[
        list[str] | None, typer.Argument(metavar="[OPERATION]...", help="rank, topk. Default: all.", show_default=False)
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MxN",
            help="Rankings times scores; may be repeated.",
            show_default="1x10000000, 100000x100, 10000x1000",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="float32|float64")] = "float32",
    alpha: Annotated[float, typer.Option(metavar="A", help="In the unit of the scores, which are N(0, 1).")] = 0.1,
    k: Annotated[str, typer.Option("--k", metavar="K")] = "10%",
    threads: Annotated[int, typer.Option(metavar="N", min=1)] = 1,
    runs: Annotated[int, typer.Option(metavar="N", min=1, help="Runs of each side, in turn; the median counts.")] = 5,
):
    """Times on this machine, beside NumPy's hard counterpart and a copy; every output is checked first."""
    from .bench import run_bench
    from .bench.report import print_table

    print_table(run_bench(operations, shape, dtype, alpha, k, threads, runs))


def _version(value: bool) -> None:
    if value:
        print(f"lapsum {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
):
    pass


def main() -> None:
    """The entry point of the process."""
    sys.meta_path.insert(0, _WithoutNeighbours)
    if sys.platform == "linux":  # before PyArrow is imported: the pool that its C++ takes where Python names none
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    app()


class _WithoutNeighbours:
    """An importer that refuses pandas and SciPy, which the command does not use.

    Where they are installed, PyArrow imports the one to see whether an array is one of its, and Numba the other for
    linear algebra: half a second and 50 MB for nothing.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("pandas", "scipy"):
            raise ModuleNotFoundError("the command line does without it", name=name)


def _fail(message: str, code: int) -> None:
    print("lapsum: " + message.replace("\n", " "), file=sys.stderr, flush=True)
    _leave(code)


def _leave(code: int) -> None:
    """Exit without waiting for a thread that sits in a read of standard input, and without a second word about a
    closed pipe.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    os._exit(code)
