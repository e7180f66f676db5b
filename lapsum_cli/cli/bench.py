"""The command `lapsum bench`: its options, and what is made of them, in order."""

import shutil
import sys
from collections.abc import Iterable
from itertools import zip_longest
from typing import Annotated

import typer

from ..core.errors import OptionError
from ..operations import METHODS, methods_of
from ..study.bench.peers import PEERS
from ..study.bench.scores import SCORES
from ..study.bench.timed import DTYPES, FROM_FILE_TO_FILE, SHAPES, TIMED, UNEVEN
from .pages import path_of
from .streams import is_terminal

OF_SHAPES = {"even": "shapes", "uneven": "uneven"}  # kinds of tables, by the words of --shapes
IF_BARE = {"--shapes": "even"}  # options that may stand without a word, and which is meant then


def _first_by_default(names: Iterable[str]) -> str:
    first, *others = names
    return ", ".join([f"{first} (the default)", *others])


def bench(
    operations: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OPERATION]...",
            help=f"{', '.join(TIMED)}. Default: all.",
            show_default=False,
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MxN",
            help=f"Rankings times scores, or how many scores each has: {', '.join(UNEVEN)} (or 1000x{UNEVEN[0]}, "
            f"which is 1000 of them). May be repeated. Default: {', '.join(SHAPES['cpu'])}; on a card "
            f"{', '.join(SHAPES['cuda'])}; with --shapes uneven the four named.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B", help=f"Of {_first_by_default(DTYPES)}.", show_default=False),
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="How they are distributed: of "
            f"{_first_by_default(f'{name} ({words})' if words else name for name, (_, words) in SCORES.items())}.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B", help=f"Of {_first_by_default(METHODS)}.", show_default=False),
    ] = None,
    alpha: Annotated[float, typer.Option(metavar="A", help="In the unit of the scores, such as N(0, 1).")] = 0.1,
    k: Annotated[str, typer.Option("--k", "-k", metavar="K", help="A number, or a share of each ranking.")] = "10%",
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Default: 1 in memory; from file to file, what each likes.", show_default=False
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="cpu|cuda",
            help="cuda: scores that are on an NVIDIA GPU (extra cuda) already; with --files, runs with --device cuda.",
        ),
    ] = "cpu",
    peers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help=f"Of {', '.join(PEERS)}; on a card "
            f"{', '.join(name for name, listed in PEERS.items() if listed.on_card)}. "
            "Default: those that are installed.",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(metavar="N", min=1, help="Runs of each side, in turn; the median counts.")] = 5,
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[even|uneven]",
            help="Time every shape in memory whose rankings have one length (even, or without a word), or that have "
            "several, each beside rankings of the mean length. Default: what each --shape is, or even, unless another "
            "table is asked for.",
            show_default=False,
        ),
    ] = None,
    growth: Annotated[
        bool, typer.Option("--growth", help="Time rankings that double in length, from 1024 to the longest --shape.")
    ] = False,
    calls: Annotated[
        bool, typer.Option("--calls", help="Time calls of a few scores, from Python and PyTorch, and small processes.")
    ] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="With --calls: also first runs, which compile kernels; half a minute each.")
    ] = False,
    files: Annotated[
        bool,
        typer.Option("--files", help=f"Time {' and '.join(FROM_FILE_TO_FILE)} from file to file, as whole processes."),
    ] = False,
    rows: Annotated[
        float,
        typer.Option(
            metavar="N",
            help="Of the Parquet of --files; its NPY has five scores for each. Default: 2e7.",
            show_default=False,
        ),
    ] = 2e7,
    temp_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where --files and --calls make files. Default: the system's.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every run of every side, in seconds and bytes.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PAGE.html", help="Also write a page with tables and charts."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing page.")] = False,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="PAGE",
            help="Also put each table into a page of this installation (speed: lapsum help speed) or a file (TEXT.md), "
            "between <!-- bench:KIND:begin --> and <!-- bench:KIND:end -->; KIND is shapes, uneven, growth, "
            "calls or files, with --device cuda cuda-shapes and so on.",
        ),
    ] = None,
) -> None:
    """Times on this machine, beside the hard counterparts of other libraries and a copy; every output is checked first.

    A ratio is lapsum's time over the other's: below 1, lapsum is faster. In memory PyTorch gets as many threads as
    lapsum, NumPy, SciPy and pandas have one, Polars and DuckDB take what they like. On a card the copy is one there,
    and what crosses the bus is timed apart.
    """
    from ..formats.files import Output
    from ..study.bench.cases import Choice
    from ..study.bench.peers import find_peers
    from ..study.bench.run import Bench
    from ..study.report.record import Record
    from .terminal import Voice

    methods = _listed(method) or list(METHODS)[:1]
    by_all = [name for name, timed in TIMED.items() if set(methods) <= set(methods_of(timed.operation))]
    choice = Choice(
        operations=operations or by_all,
        shapes=_listed(shape),
        dtypes=_listed(dtype) or list(DTYPES[:1]),
        scores=_listed(scores) or list(SCORES)[:1],
        alpha=alpha,
        k=k,
        threads=threads,
        device=device,
        methods=methods,
    )
    if cold and not calls:
        raise OptionError("--cold adds first runs to --calls; give both")
    kinds = [*map(_kind, _listed(shapes))]
    kinds += [kind for kind, chosen in (("growth", growth), ("calls", calls), ("files", files)) if chosen]
    kinds = list(dict.fromkeys(kinds or choice.kinds()))
    bench = Bench(choice, kinds, find_peers(_listed(peers), kinds, device), runs, rows, temp_dir, cold)
    page = Output(output, force) if output else None
    kept = Record(path_of(record), [choice.name_of(kind) for kind in kinds]) if record else None
    # Without its progress bar, whose thread would run beside what is timed.
    words = Voice(quiet=not is_terminal(sys.stderr))
    report = bench.run(words.say)
    shown = report.text(shutil.get_terminal_size().columns) if is_terminal(sys.stdout) else report.markdown()
    print(report.json() if as_json else shown)
    if page:
        with page:
            page.stream.write(report.html().encode())
    if kept:
        kept.write(report.blocks())
        words.say(f"recorded in {kept.path}")


def with_words(args: list[str], flags: set[str]) -> list[str]:
    """What was typed of a command with these flags, with a word for each of IF_BARE that an option, an operation or
    nothing follows.
    """
    typed = []
    for arg, following in zip_longest(args, args[1:], fillvalue=""):
        typed.append(arg)
        if arg in flags & IF_BARE.keys() and (following.startswith("-") or following in ("", *TIMED)):
            typed.append(IF_BARE[arg])
    return typed


def _kind(shapes: str) -> str:
    """The kind of table of a word of --shapes."""
    if shapes not in OF_SHAPES:
        raise OptionError(f"--shapes {shapes!r} is unknown; known are {', '.join(OF_SHAPES)}")
    return OF_SHAPES[shapes]


def _listed(given: list[str] | None) -> list[str]:
    """The values of an option that takes A,B and may be repeated."""
    return [value.strip() for text in given or [] for value in text.split(",") if value.strip()]
