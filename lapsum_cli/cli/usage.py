"""What is wrong with what was typed, in a line: the words of the parser, as this program says things."""

from __future__ import annotations

import difflib
import re
import sys
from typing import Any

# What the parser says, and what is said instead.
_WORDS = (
    (r"No such command '(.*)'\. Did you mean (.*)\?", r"no such command '\1'; is \2 meant?"),
    (r"No such command '(.*)'\.", r"no such command '\1'"),
    (r"Option '(.*)' requires an argument\.", r"\1 needs a value"),
    (r"Option '(.*)' does not take a value\.", r"\1 takes no value"),
    (r"Got unexpected extra argument\S* \((.*)\)", r"unexpected argument: \1"),
    (r"Invalid value for '([^']*)'.*: Input should be a valid integer.*", r"\1 must be a whole number"),
    (r"Invalid value for '([^']*)'.*: Input should be a valid number.*", r"\1 must be a number"),
    (r"Invalid value for '([^']*)'.*: Input should be greater than or equal to (\S*)", r"\1 must be \2 or more"),
)
_NEAR = 0.8  # of an option that may be meant: --bas is --base, and --order is not --score


def said(error: Any) -> str:
    """What a usage error of the parser says, and how to go on."""
    command = error.ctx.command_path if error.ctx else " ".join(["lapsum", *sys.argv[1:2]])
    return f"{_problem(error)}; try {command} -h"


def _problem(error: Any) -> str:
    option = getattr(error, "option_name", "")
    if error.message.startswith("No such option"):
        return f"no such option: {option}{_elsewhere(error.ctx, option) or _meant(option, error.possibilities or ())}"
    text = error.format_message()
    for pattern, words in _WORDS:
        if found := re.fullmatch(pattern, text, re.S):
            return found.expand(words)
    return f"{text[:1].lower()}{text[1:].rstrip('.')}"


def _meant(option: str, known: Any) -> str:
    near = difflib.get_close_matches(option, known, 1, _NEAR)
    return f"; is {near[0]} meant?" if near else ""


def _elsewhere(ctx: Any, option: str) -> str:
    """Which other commands have it."""
    group = ctx.parent.command if ctx and ctx.parent else None
    having = [
        name
        for name, command in getattr(group, "commands", {}).items()
        if any(option in (*p.opts, *p.secondary_opts) for p in command.params)
    ]
    names = " and ".join(", ".join(having).rsplit(", ", 1))
    return f", which {names} {'has' if len(having) == 1 else 'have'}" if having else ""
