"""What a shell offers to complete a word: the columns of the files in the command, losses, topics of help."""

from __future__ import annotations

import contextlib

import typer

from ..core.errors import LapsumError
from ..operations import LOSSES, METRICS
from .pages import PAGES


def columns(ctx: typer.Context, incomplete: str) -> list[str]:
    """The columns of the first file whose names go on as begun, behind those that a comma ends; none on any trouble. An
    object store is not asked at every key.
    """
    from ..api.columns import column_names

    # Typer gives up at an option without its value, which is the one to complete, and leaves the rest as it was typed.
    given = ctx.params.get("source") or [word for word in ctx.args if word not in LOSSES]
    named = [path for path in given if not path.startswith("-") and "://" not in path]
    found: list[str] = []
    with contextlib.suppress(LapsumError, OSError):
        if named:
            found = column_names(named[0], ctx.params.get("from_format"))
    before, comma, begun = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in found if name.startswith(begun)]


def losses(incomplete: str) -> list[str]:
    """The losses and metrics whose names go on as begun, behind those that a comma ends."""
    before, comma, begun = incomplete.rpartition(",")
    known = [*LOSSES, *(name.replace("@k", "@") for name in METRICS)]  # ndcg@ is for a k to follow
    return [f"{before}{comma}{name}" for name in known if name.startswith(begun)]


def topics(ctx: typer.Context, incomplete: str) -> list[str]:
    """The commands and the pages whose names go on as begun."""
    commands = ctx.parent.command.commands if ctx.parent else []  # type: ignore[attr-defined]
    return [name for name in (*commands, *PAGES) if name.startswith(incomplete)]
