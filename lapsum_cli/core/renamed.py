"""Arguments that were called otherwise: their old names are taken for one release, with a warning."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .errors import OptionError, warn

Given = ParamSpec("Given")
Made = TypeVar("Made")


def renamed(given: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The options with the present name of one that was called otherwise; a DeprecationWarning where that was used."""
    if old not in given or old == new:
        return given
    if new in given:
        raise OptionError(f"{old}= is the old name of {new}=; pass {new}= alone")
    warn(f"{old}= is called {new}= now; the old name goes with the next release", DeprecationWarning)
    return {new if name == old else name: value for name, value in given.items()}


def formerly(old: str, new: str) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """A function that takes an argument by its old name too."""

    def decorate(function: Callable[Given, Made]) -> Callable[Given, Made]:
        @functools.wraps(function)
        def called(*given: Given.args, **options: Given.kwargs) -> Made:
            return function(*given, **renamed(options, old, new))

        return called

    return decorate
