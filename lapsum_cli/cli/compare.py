"""The command `compare`: all methods on the user's own rankings."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import OptionError
from ..core.quantities import Alpha, K
from .streams import is_terminal


def compare(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="As of the other commands: one of them.")],
    k: Annotated[str, typer.Option("--k", "-k", metavar="K", help="How many are at the top.")] = "10",
    alpha: Annotated[
        str, typer.Option(metavar="A", help="How soft lapsum is, in standard deviations; all others are as soft.")
    ] = "0.1std",
    methods: Annotated[
        str | None, typer.Option(metavar="A,B", help="These alone. Default: all that give memberships.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="What the scores should order, larger is better.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="'f_*'",
            help="With --target: train a linear scorer of these columns through each method and loss, and tell which "
            "one learns best.",
        ),
    ] = None,
    losses: Annotated[
        str | None, typer.Option(metavar="A,B", help="With --features: these losses beside the methods.")
    ] = None,
    group: Annotated[str | None, typer.Option(metavar="A,B", help="As of topk.")] = None,
    score: Annotated[str | None, typer.Option(metavar="COLUMN", help="As of topk.")] = None,
    columns: Annotated[str | None, typer.Option(metavar="'S_*'", help="As of topk.")] = None,
    most: Annotated[
        float | None,
        typer.Option(
            "--most",
            metavar="N",
            help="Look at the first rankings with so many scores in all. Default: 1000000, with --features 30000.",
        ),
    ] = None,
    from_format: Annotated[str | None, typer.Option("--from", metavar="FORMAT", help="As of topk.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was found.")] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PAGE.html", help="Also write a page with tables and charts."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing page.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """All methods of a top-k side by side on your own rankings, as soft as each other.

    Whom they select, what they sum to, which items a gradient reaches, how near it is to that of the hard metric under
    noise, what they take. With --target and --features: which one a linear scorer learns from best.
    """
    from ..api.sample import sample
    from ..formats.files import Output
    from ..study.compare import learn, look, shown, softness
    from .terminal import Voice

    parsed, soft = K.parse(k), Alpha.parse(alpha)
    if parsed.percent or soft.unit != "std":
        raise OptionError("compare takes a k that is a number, and an alpha in standard deviations, such as 0.1std")
    chosen = _named(methods, softness.comparable(), "method")
    named = _named(losses, learn.trainable(), "loss")
    page = Output(output, force) if output else None
    with Voice(quiet, True) as words:
        group_names = None if group is None else [name.strip() for name in group.split(",") if name.strip()]
        given: dict[str, Any] = {
            "group": group_names,
            "score": score,
            "columns": columns,
            "from_format": from_format,
        }
        read = sample(
            source,
            target=target,
            features=features,
            most=int(most or (learn.MOST if features else look.MOST)),
            words=words,
            **given,
        )
        name = Path(source).name
        if features is None:
            found = look.compare(read.rankings, parsed.value, chosen, soft.value, read.target, words.say)
            report = shown.looked(found, name, target, read.is_whole)
        else:
            assert read.features is not None
            assert read.target is not None
            trained = learn.learn(
                read.features, read.target, read.rankings.offsets, parsed.value, chosen, named, words.say
            )
            report = shown.learned(trained, name, read.is_whole)
    width = shutil.get_terminal_size().columns
    print(report.json() if as_json else report.text(width) if is_terminal(sys.stdout) else report.markdown())
    if page:
        with page:
            page.stream.write(report.html().encode(errors="backslashreplace"))


def _named(given: str | None, known: list[str], what: str) -> list[str]:
    """What was listed, or all that there are; OptionError for a name that is none of them."""
    names = [name.strip() for name in given.split(",") if name.strip()] if given else known
    for name in names:
        if name not in known:
            raise OptionError(f"no {what} {name!r} to compare; known are {', '.join(known)}")
    return names
