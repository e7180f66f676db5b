"""Options in messages: written once, and read as whoever is told would type them.

In the text of a message an option stands in angle brackets, by the name that run_file has for it, with or without a
value: "pass ⟨force=True⟩ to replace it". Python reads force=True, and the command --force.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping

_OPTION = re.compile(r"⟨(\w+)(?:=([^⟩]*))?⟩")
_LITERAL = ("True", "False", "None")


def in_python(text: str) -> str:
    """The message with options as arguments: force=True, nan="last"; `gain=` where no value is named."""

    def spelt(found: re.Match[str]) -> str:
        name, value = found.groups()
        if value is None:
            return f"{name}="
        return f"{name}={value if value in _LITERAL else json.dumps(value, ensure_ascii=False)}"

    return _OPTION.sub(spelt, text)


def in_command(text: str, flags: Mapping[str, str]) -> str:
    """The message with options as flags: --force, --nan last; flags: those that are not called as in Python."""

    def spelt(found: re.Match[str]) -> str:
        name, value = found.groups()
        flag = flags.get(name, "--" + name.replace("_", "-"))
        return flag if value in (None, "True") else f"{flag} {shlex.quote(value)}"

    return _OPTION.sub(spelt, text)
