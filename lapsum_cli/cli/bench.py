"""The command `lapsum bench`: its options, and what is made of them, in order."""

import shutil
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from ..operations import METHODS, methods_of
from ..study.bench.peers import PEERS
from ..study.bench.scores import SCORES
from ..study.bench.timed import DTYPES, FROM_FILE_TO_FILE, SHAPES, TIMED
from .pages import path_of
from .startup import is_terminal


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
            help=f"Rankings times scores; may be repeated. Default: {', '.join(SHAPES['cpu'])}; on a card "
            f"{', '.join(SHAPES['cuda'])}.",
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
        bool, typer.Option("--shapes", help="Time every shape in memory. Default, unless --growth or --files is given.")
    ] = False,
    growth: Annotated[
        bool, typer.Option("--growth", help="Time rankings that double in length, from 1024 to the longest --shape.")
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
        str | None, typer.Option(metavar="DIR", help="Where --files makes its files. Default: the system's.")
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
            "between <!-- bench:KIND:begin --> and <!-- bench:KIND:end -->; KIND is shapes, growth or files, with "
            "--device cuda cuda-shapes and so on.",
        ),
    ] = None,
) -> None:
    """Times on this machine, beside the hard counterparts of other libraries and a copy; every output is checked first.

    A ratio is lapsum's time over the other's: below 1, lapsum is faster. In memory PyTorch gets as many threads as
    lapsum, NumPy and SciPy have one, Polars and DuckDB take what they like. On a card the copy is one there, and what
    crosses the bus is timed apart.
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
        shapes=_listed(shape) or list(SHAPES.get(device, ())),
        dtypes=_listed(dtype) or list(DTYPES[:1]),
        scores=_listed(scores) or list(SCORES)[:1],
        alpha=alpha,
        k=k,
        threads=threads,
        device=device,
        methods=methods,
    )
    kinds = [kind for kind, chosen in (("shapes", shapes), ("growth", growth), ("files", files)) if chosen] or [
        "shapes"
    ]
    bench = Bench(choice, kinds, find_peers(_listed(peers), kinds, device), runs, rows, temp_dir)
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


def _listed(given: list[str] | None) -> list[str]:
    """The values of an option that takes A,B and may be repeated."""
    return [value.strip() for text in given or [] for value in text.split(",") if value.strip()]
