"""The command line: commands, their options, errors as one line and an exit code."""

import functools
import inspect
import os
import signal
import sys
from types import SimpleNamespace
from typing import Annotated

import typer

from .. import __version__
from ..core.errors import DataError, IOFailed, LapsumError, OptionError
from . import options
from .bench import bench

app = typer.Typer(
    help="Differentiable ranks, sorting, top-k and permutations, their losses and gradients, for files of scores.",
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


def _operation(*shared):
    """The command of an operation: its own options, which it turns into those of the run, and the shared ones."""

    def decorate(function):
        own = inspect.signature(function).parameters
        everywhere = {
            name: p for group in (options.shared, *shared) for name, p in inspect.signature(group).parameters.items()
        }

        def command(**given):
            common = SimpleNamespace(**{name: given[name] for name in everywhere})
            _run(function.__name__, function(**{name: given[name] for name in own}), common)

        first = [p for p in own.values() if p.default is inspect.Parameter.empty]  # arguments before SOURCE
        rest = [p for p in own.values() if p not in first]
        sources, output, *others = everywhere.values()
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__signature__ = inspect.Signature([*first, sources, output, *rest, *others])
        annotations = [group.__annotations__ for group in (options.shared, *shared, function)]
        command.__annotations__ = functools.reduce(lambda all, more: {**all, **more}, annotations)
        return _command(command)

    return decorate


@_operation(options.gradients)
def rank(base: Annotated[int, typer.Option(metavar="0|1", help="The best possible rank.")] = 1):
    """Soft ranks: the largest score of a ranking is near 1, and they sum to n(n+1)/2.

    r_i = base + sum over j != i of F((x_j - x_i) / alpha), with F the CDF of the Laplace distribution. Ties share
    their mean rank.
    """
    return {"base": base}


@_operation(options.gradients)
def sort():
    """Soft-sorted scores, best first: the l-th row of a ranking gets its l-th best score, softened.

    y_l is the t at which the soft count of scores above, sum over j of F((x_j - t) / alpha), is l - 1/2. The upstream
    gradient goes by position too, the gradient written by item.
    """
    return {}


_K = Annotated[
    str | None,
    typer.Option(
        "--k",
        "-k",
        metavar="K",
        help="How many are at the top: 10, 2.5, 10% of each ranking, or 10,100 for two columns (topk).",
    ),
]
_KColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="Take k of each ranking from this column.")]


@_operation(options.gradients)
def topk(
    k: _K = None,
    k_column: _KColumn = None,
    strict_k: Annotated[
        bool, typer.Option("--strict-k", help="Refuse a ranking shorter than k instead of taking all of it.")
    ] = False,
    log: Annotated[
        bool, typer.Option("--log", help="Write log memberships, accurate in both tails (log_soft_topk).")
    ] = False,
    minimum: Annotated[
        float | None, typer.Option("--min", metavar="P", help="Write only items with a membership of at least P.")
    ] = None,
    threshold: Annotated[bool, typer.Option("--threshold", help="Also write each ranking's threshold b.")] = False,
    grad_k: Annotated[
        bool, typer.Option("--grad-k", help="With a gradient, also that with respect to each ranking's k.")
    ] = False,
):
    """Soft top-k: memberships in [0, 1] that sum to k in every ranking.

    p_i = F((x_i - b) / alpha), with F the CDF of the Laplace distribution and the threshold b such that they sum to k.
    """
    return {
        "k": k,
        "k_column": k_column,
        "strict": strict_k,
        "log": log,
        "minimum": minimum,
        "threshold": threshold,
        "grad_k": grad_k,
    }


@_operation()
def permute(
    tol: Annotated[
        float, typer.Option(metavar="MASS", help="Of each item's probability, at most how much may be left out.")
    ] = 1e-3,
    dense: Annotated[
        bool, typer.Option("--dense", help="Write the whole matrix as NPY: a row an item, a column a position.")
    ] = False,
    item: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="What items are called; '' for their number in the ranking. "
            "Default: found by name (docid, docno, item ...).",
        ),
    ] = None,
):
    """Soft permutation: a row for each item and likely position (from 1, best first), with its probability.

    P_il = F((x_i - b_l) / alpha) - F((x_i - b_l-1) / alpha), with b_l the threshold of the soft top l. Each item keeps
    its most probable positions until those left out hold at most --tol. How many rows that makes is said before they
    are written; more than 10^9, or than the disk holds, need --force.
    """
    return {"tolerance": tol, "dense": dense, "item": item}


def _list_losses(value: bool) -> None:
    if value:
        from ..operations.menu import LOSSES

        for name, definition in LOSSES.items():
            print(f"{name:<12} {definition}")
        raise typer.Exit


@_operation()
def loss(
    name: Annotated[str, typer.Argument(metavar="NAME", help="spearman, topk, recall, ndcg or permutation.")],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="What the scores should order, larger is better. A column; with --columns a pattern; for NPY a file.",
        ),
    ] = None,
    gradient: Annotated[
        bool, typer.Option("--gradient", help="Write the gradient for every score (grad) instead of the losses.")
    ] = False,
    grad_alpha: Annotated[
        bool, typer.Option("--grad-alpha", help="With --gradient, also that with respect to each ranking's alpha.")
    ] = False,
    k: _K = None,
    k_column: _KColumn = None,
    gain: Annotated[
        str | None, typer.Option(metavar="exp2|linear", help="ndcg: gain 2^y - 1 or y. Default: exp2.")
    ] = None,
    reduction: Annotated[
        str,
        typer.Option(
            metavar="none|sum|mean",
            help="One row of all losses instead of a row for each ranking. With --gradient: that of the mean (a second "
            "pass over the input), instead of each ranking's own loss.",
        ),
    ] = "none",
    list_losses: Annotated[
        bool, typer.Option("--list", callback=_list_losses, is_eager=True, help="Print the losses, defined, and exit.")
    ] = False,
):
    """Losses of rankings against a target, and their gradients; the mean is said on stderr.

    spearman: 1 - the correlation of the soft ranks r with the ranks of the target y. ndcg: 1 - DCG / ideal, DCG = sum
    of gain(y_i) / log2(1 + r_i); with --k each term times the soft membership p_i. topk: the cross-entropy
    -(1/n) sum of t_i log p_i + (1 - t_i) log(1 - p_i), t the k largest targets. recall: 1 - sum of t_i p_i / k.
    permutation: -(1/n) sum of log P[i, place of y_i], P the soft permutation.

    Scores of -inf take no part. A ranking with fewer than two others, a constant target or no gain has a null loss and
    gradient 0.
    """
    return {
        "loss": name,
        "target": target,
        "gradient": gradient,
        "grad_alpha": grad_alpha,
        "k": k,
        "k_column": k_column,
        "gain": gain,
        "reduction": reduction,
    }


def _run(name: str, own: dict, given: SimpleNamespace) -> None:
    """The act of every operation's command."""
    from ..api.files import run_file
    from ..formats import FORMATS
    from .terminal import Voice

    binary = given.to_format in FORMATS and not FORMATS[given.to_format].is_text
    if binary and given.output is None and sys.stdout.isatty():
        raise OptionError(
            f"--to {given.to_format} is binary and would upset the terminal; write to a file with -o, or into a pipe"
        )
    named = {"sources": "source", "output": "sink", "ascending": None, "quiet": None}
    shared = {named.get(option, option): value for option, value in vars(given).items()}
    del shared[None]
    shared["group"] = given.group if given.group is None else [part.strip() for part in given.group.split(",") if part]
    with Voice(given.quiet) as words:
        summary = run_file(name, **shared, **own, descending=not given.ascending, words=words)
    for line in _what_was_done(name, summary, given.output):
        words.say(line)


def _what_was_done(name: str, summary, output: str | None):
    """What the user should know of a run that went well, a line each."""
    if summary.short:
        yield (
            f"{summary.short} of {summary.rankings} rankings are shorter than k; their k is their length"
            + (" (--strict-k refuses them)" if name == "topk" else "")
        )
    if summary.nan:
        without = "have no rows" if name == "permute" else "have a null result" if name != "loss" else "take no part"
        yield f"{summary.nan} NaN or null scores were left out: they {without}"
    if name == "loss":
        undefined = summary.rankings - summary.losses
        without = f"; {undefined} have none: their target is constant, without gain, or too short" if undefined else ""
        mean = f"{summary.loss / summary.losses:.6g}" if summary.losses else "undefined"
        yield f"mean loss {mean} over {summary.losses} rankings{without}"
    written = f" -> {output}" if output else ""
    rankings = "1 ranking" if summary.rankings == 1 else f"{summary.rankings} rankings"
    left = f", {summary.written} of {summary.rows} rows kept" if summary.written < summary.rows else ""
    if name in ("permute", "loss"):
        left = ", 1 row" if summary.written == 1 else f", {summary.written} rows"
    yield f"{summary.scores} scores in {rankings}{left}{written}"


@_command
def doctor(
    warm: Annotated[bool, typer.Option("--warm", help="Compile every kernel now, so that no later run waits.")] = False,
):
    """What lapsum finds on this machine: versions, cores, memory limit, compiled kernels, GPU."""
    from .doctor import report

    for name, value in report(warm):
        print(f"{name:<10} {value}")


_command(bench)


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
    if sys.argv[1:2] != ["bench"]:
        sys.meta_path.insert(0, _WithoutNeighbours)
    if sys.platform == "linux":  # before PyArrow is imported: the pool that its C++ takes where Python names none
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    app()


class _WithoutNeighbours:
    """An importer that refuses pandas and SciPy, which no command uses but the one that times them.

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
