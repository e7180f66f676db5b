"""The options that commands share, declared once, by the names that run_file has for them: meaning, default.

Those of one operation alone are declared by it (operations).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer

from ..core.spelling import in_command
from ..engines import ENGINES
from ..formats import FOR_KIND, FORMATS
from ..operations import LOSSES, METRICS, OPERATIONS, operation_called
from ..operations.loss import REDUCTIONS
from .complete import columns, losses


def _of_columns(help: str, metavar: str = "COLUMN") -> Any:
    """An option that names columns, which a shell completes."""
    return typer.Option(metavar=metavar, autocompletion=columns, help=help)


def shared(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Parquet, NPY, Arrow, CSV, TSV or JSON lines: files, globs, a directory of Parquet, here or in s3:// "
            "and gs://, or - for a pipe, the default where there is one. Several are read as one, in order.",
            show_default=False,
        ),
    ] = None,
    sink: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="Write here, whole or not at all; into DIR/ a file for each input (lapsum help scale). Default, and "
            "-: standard output.",
            show_default=False,
        ),
    ] = None,
    alpha: Annotated[
        str | None,
        typer.Option(
            metavar="A",
            help="Softness: near 0 is hard, larger is softer. In the unit of the scores (0.1), or in a spread of each "
            "ranking: standard deviations (0.1std), or what outliers do not move, interquartile ranges (0.1iqr) or "
            "median absolute deviations (0.15mad); gradients hold it constant. Default: 0.1std.",
            show_default=False,
        ),
    ] = None,
    alpha_column: Annotated[
        str | None,
        _of_columns("Take alpha of each ranking from this column."),
    ] = None,
    ascending: Annotated[
        bool, typer.Option("--ascending", help="Best is the smallest score instead of the largest.")
    ] = False,
    group: Annotated[
        str | None,
        _of_columns(
            "Columns whose consecutive equal values make a ranking; '' for none. "
            "Default: found by name (qid, query_id, topic, user_id ...).",
            "A,B",
        ),
    ] = None,
    score: Annotated[
        str | None,
        _of_columns("The scores, or lists of them. Default: found by name (score, pred, logit ...)."),
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
            help="NaN and null scores: refuse, rank last, or leave out.",
        ),
    ] = "error",
    sort_groups: Annotated[
        bool,
        typer.Option(
            "--sort-groups",
            help="The rows of a group may come in any order: bring them together, and give results in the input's "
            "order. Within --memory; the rest waits in temporary files.",
        ),
    ] = False,
    temp_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where temporary files go. Default: the system's folder."),
    ] = None,
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
    delimiter: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="Of a CSV or TSV that is read: the character between fields, such as ';', '|' or '\\t'. "
            "Default: by format.",
            show_default=False,
        ),
    ] = None,
    quote: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="Likewise: around fields, '' for none. Default: '\"' for CSV, none for TSV.",
            show_default=False,
        ),
    ] = None,
    escape: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="Likewise: before a quote within quotes that is not doubled, as '\\' in what Spark writes. "
            "Default: found where only one can be meant.",
            show_default=False,
        ),
    ] = None,
    no_header: Annotated[
        bool,
        typer.Option(
            "--no-header", help="Likewise: the first line is a row; columns are called 1, 2, ... (--score 2)."
        ),
    ] = False,
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
    engine: Annotated[
        str,
        typer.Option(
            metavar="|".join(ENGINES),
            help="Who computes the files of -o DIR/: this process, others, which share --memory and --threads, or "
            "tasks of a Ray cluster (extra ray).",
        ),
    ] = "threads",
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many processes, or tasks. Default: one a core.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The cluster of --engine ray. Default: that of RAY_ADDRESS, else one of this machine, for the run.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With -o DIR/: go on where an earlier run has stopped.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With -o DIR/: print what would be done, and do nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With -o: print what was done, or the plan, as JSON on standard output.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """The signature is the declaration."""


def k(
    k: Annotated[
        str | None,
        typer.Option(
            "--k",
            "-k",
            metavar="K",
            help="How many are at the top: 10, 2.5, 10% of each ranking, or 10,100 for two columns (topk).",
        ),
    ] = None,
    k_column: Annotated[
        str | None,
        _of_columns("Take k of each ranking from this column."),
    ] = None,
) -> None:
    """k of every ranking."""


def q(
    q: Annotated[
        str | None,
        typer.Option(
            "--q",
            metavar="Q",
            help="Which quantile, from 0, the minimum, to 1, the maximum: 0.5, the median, or 0.5,0.9 for two columns.",
        ),
    ] = None,
) -> None:
    """Which quantiles."""


def upstream(
    upstream: Annotated[
        str | None,
        _of_columns(
            "Also write the gradient of the sum of upstream times result with respect to the scores (grad). A "
            "column; with --columns a pattern such as 'g_*'; for NPY a file of the same shape."
        ),
    ] = None,
    grad_alpha: Annotated[
        bool, typer.Option("--grad-alpha", help="With a gradient, also that with respect to each ranking's alpha.")
    ] = False,
) -> None:
    """The gradient of a result."""


_OF_METRICS = """
Metrics are of hard orders: larger is better, and there is no gradient. Equal scores have no order: a metric is its mean
over all that they may have. They are null where nothing is relevant (y > 0), and where the target is constant kendall
and hard-spearman are. Give several, of either kind, with commas: ndcg,ndcg@10,mrr."""


def _list_losses(value: bool) -> None:
    if value:
        for name, entry in {**LOSSES, **METRICS}.items():
            what = "" if entry.is_soft else "metric: "
            print(f"{name:<14}  {what}{entry.about}{'; n^2 steps' if entry.is_square else ''}")
        print(_OF_METRICS)
        raise typer.Exit


def loss(
    loss: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=losses,
            help=f"{', '.join(LOSSES)}; or a metric: {', '.join(METRICS)}. Several, with commas, give a column each.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        _of_columns(
            "What the scores should order, larger is better. A column; with --columns a pattern; for NPY a file."
        ),
    ] = None,
    stages: Annotated[
        str | None,
        _of_columns("Of a cascade: the columns of both scores, in place of --score; a gradient for each.", "A,B"),
    ] = None,
    weight: Annotated[
        str | None,
        _of_columns(
            "What each ranking counts, 0 or more: losses and gradients are multiplied by it, means divided by its sum. "
            "A column that is constant within a ranking."
        ),
    ] = None,
    reduction: Annotated[
        str,
        typer.Option(
            metavar="|".join(REDUCTIONS),
            help="One row of all losses instead of a row for each ranking. With --gradient: that of the mean (a second "
            "pass over the input), instead of each ranking's own loss.",
        ),
    ] = "none",
    list_losses: Annotated[
        bool, typer.Option("--list", callback=_list_losses, is_eager=True, help="Print the losses, defined, and exit.")
    ] = False,
) -> None:
    """Which loss, against what, and of how many rankings."""


def item(
    item: Annotated[
        str | None,
        _of_columns(
            "What items are called; '' for their number in the ranking. "
            "Default: found by name (docid, docno, item ...)."
        ),
    ] = None,
) -> None:
    """What items are called."""


def keep(
    keep: Annotated[
        str | None,
        _of_columns(
            "Columns of the input to write beside each position: those of the item whose score has that place.", "A,B"
        ),
    ] = None,
) -> None:
    """What is written beside a result by position."""


TAKES: dict[str, Callable[..., None]] = {  # by need
    "k": k,
    "q": q,
    "upstream": upstream,
    "target": loss,
    "item": item,
    "keep": keep,
}


def declared(function: Callable[..., None]) -> list[inspect.Parameter]:
    """The parameters of a function that declares options."""
    return list(inspect.signature(function, eval_str=True).parameters.values())


@functools.cache
def _flags() -> dict[str, str]:
    """How options are typed that are not called as in Python: the first flag that each declares."""
    shared_or_taken = [p for function in (shared, *TAKES.values()) for p in declared(function)]
    found = {p.name: info.default for p in shared_or_taken for info in p.annotation.__metadata__}  # it comes first
    own = [field for name in OPERATIONS for field in fields(operation_called(name))]
    found |= {field.name: field.metadata["flag"] for field in own if "flag" in field.metadata}
    return {name: flag for name, flag in found.items() if isinstance(flag, str)}


def spelt(message: str) -> str:
    """A message with options as they are typed here."""
    return in_command(message, _flags())
