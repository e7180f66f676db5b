"""The command line: commands, their options, errors as one line and an exit code."""

import functools
import inspect
import os
import signal
import sys
from types import SimpleNamespace
from typing import Annotated

import typer

from . import __version__, options
from .errors import DataError, IOFailed, LapsumError, OptionError

app = typer.Typer(
    help="Differentiable ranks and top-k memberships for files of ranking scores.",
    epilog="Start with: lapsum rank scores.parquet -o ranks.parquet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        except NotImplementedError as error:  # Arrow's, for a type that some step cannot handle
            _fail(f"a column has a type that is not supported: {error}", DataError.exit_code)
        except MemoryError as error:
            _fail(f"out of memory: {error}; lower --memory or --threads", IOFailed.exit_code)
        except OSError as error:
            _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", IOFailed.exit_code)

    return app.command()(guarded)


def _operation(function):
    """The command of an operation: its own options, which it turns into those of its class, and the shared ones."""
    shared, own = (inspect.signature(f).parameters for f in (options.shared, function))

    def command(**given):
        common = SimpleNamespace(**{name: given[name] for name in shared})
        _run(function.__name__, function(**{name: given[name] for name in own}), common)

    everywhere = list(shared.values())
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature([*everywhere[:2], *own.values(), *everywhere[2:]])
    command.__annotations__ = {**options.shared.__annotations__, **function.__annotations__}
    return _command(command)


@_operation
def rank(base: Annotated[int, typer.Option(metavar="0|1", help="The best possible rank.")] = 1):
    """Soft ranks: the largest score of a ranking is near 1, and they sum to n(n+1)/2.

    r_i = base + sum over j != i of F((x_j - x_i) / alpha), with F the CDF of the Laplace distribution. Ties share
    their mean rank.
    """
    return {"base": base}


@_operation
def topk(
    k: Annotated[
        str | None,
        typer.Option(
            "--k",
            "-k",
            metavar="K",
            help="How many are at the top: 10, 2.5, 10% of each ranking, or 10,100 for two columns.",
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
):
    """Soft top-k: memberships in [0, 1] that sum to k in every ranking.

    p_i = F((x_i - b) / alpha), with F the CDF of the Laplace distribution and the threshold b such that they sum to k.
    """
    return {"k": k, "k_column": k_column, "strict": strict_k, "minimum": minimum, "threshold": threshold}


def _run(name: str, own: dict, given: SimpleNamespace) -> None:
    """The act of every operation's command."""
    from .api import run_file
    from .formats import FORMATS
    from .terminal import Voice

    binary = FORMATS.get(given.to_format, "text") != "text"
    if binary and given.output is None and sys.stdout.isatty():
        raise OptionError(
            f"--to {given.to_format} is binary and would upset the terminal; write to a file with -o, or into a pipe"
        )
    with Voice(given.quiet) as words:
        summary = run_file(
            name,
            given.sources,
            given.output,
            alpha=given.alpha,
            alpha_column=given.alpha_column,
            descending=not given.ascending,
            group=given.group if given.group is None else [part.strip() for part in given.group.split(",") if part],
            score=given.score,
            columns=given.columns,
            column=given.column,
            nan=given.nan,
            from_format=given.from_format,
            to_format=given.to_format,
            force=given.force,
            memory=given.memory,
            threads=given.threads,
            words=words,
            **own,
        )
    if summary.short:
        words.say(
            f"{summary.short} of {summary.rankings} rankings are shorter than k; their k is their length "
            "(--strict-k refuses them)"
        )
    if summary.nan:
        words.say(f"{summary.nan} NaN or null scores were left out; their result is null")
    written = f" -> {given.output}" if given.output else ""
    rankings = "1 ranking" if summary.rankings == 1 else f"{summary.rankings} rankings"
    left = f", {summary.written} of {summary.rows} rows kept" if summary.written < summary.rows else ""
    words.say(f"{summary.scores} scores in {rankings}{left}{written}")


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
    k: Annotated[str, typer.Option("--k", "-k", metavar="K")] = "10%",
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
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    os._exit(code)
