"""The options that commands share, declared once: name, meaning, default."""

from typing import Annotated

import typer

from ..formats import FOR_KIND, FORMATS


def shared(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Parquet, NPY, Arrow, CSV, TSV or JSON lines: files, globs, a directory of Parquet, or - for a pipe. "
            "Several are read as one, in order.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Write here, whole or not at all. Default: standard output.",
            show_default=False,
        ),
    ] = None,
    alpha: Annotated[
        str | None,
        typer.Option(
            metavar="A",
            help="Softness: near 0 is hard, larger is softer. In the unit of the scores (0.1), or in standard "
            "deviations of each ranking (0.1std), which gradients hold constant.",
            show_default="0.1std",
        ),
    ] = None,
    alpha_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Take alpha of each ranking from this column.")
    ] = None,
    ascending: Annotated[
        bool, typer.Option("--ascending", help="Best is the smallest score instead of the largest.")
    ] = False,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Columns whose consecutive equal values make a ranking; '' for none. "
            "Default: found by name (qid, query_id, topic, user_id ...).",
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The scores, or lists of them. Default: found by name (score, pred, logit ...)."
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="'S_*'", help="Wide tables: each row is a ranking of the columns that match.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the result's column. Default: by operation.")
    ] = None,
    nan: Annotated[
        str,
        typer.Option(
            metavar="error|last|drop",
            help="NaN and null scores: refuse, rank last, or leave out (their result is null).",
        ),
    ] = "error",
    from_format: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help=f"{' or '.join(', '.join(FORMATS).rsplit(', ', 1))}. Default: by extension, then content.",
        ),
    ] = None,
    to_format: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="As --from. Default: by extension; standard output is {table}, or {array} for {array}.".format_map(
                {kind: name.upper() for kind, name in FOR_KIND.items()}
            ),
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Most memory to hold, such as 512MiB. Default: a quarter of the limit in force, at most 4GiB.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads that compute. Default: one a core.")
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="cpu|cuda|auto",
            help="What computes: cuda is an NVIDIA GPU (extra cuda), auto one where it works. The last digits differ.",
        ),
    ] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
):
    """The signature is the declaration."""


def gradients(
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Also write the gradient of the sum of upstream times result with respect to the scores (grad). A "
            "column; with --columns a pattern such as 'g_*'; for NPY a file of the same shape.",
        ),
    ] = None,
    grad_alpha: Annotated[
        bool, typer.Option("--grad-alpha", help="With a gradient, also that with respect to each ranking's alpha.")
    ] = False,
):
    """What the operations with an upstream gradient share besides."""
