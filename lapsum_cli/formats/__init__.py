"""File formats: each turns bytes into Arrow record batches, or Arrow tables into bytes, in bounded memory.

One file per format. A format never sees an operation; what reads and writes it is chosen here, by option, extension
or first bytes. To add one, write its file and enter it in FORMATS. Its module has two names:

    read(Reading) -> Source        sources.py
    write(Output, Made) -> Sink    sinks.py
"""

from __future__ import annotations

import codecs
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from ..core.errors import OptionError


@dataclass(frozen=True)
class Format:
    """A format as the rest of the program sees it.

    module: the file of this folder that reads and writes it; magic: first bytes by which an input is known. A table
    has named columns, an array has none.
    """

    module: str
    extensions: tuple[str, ...]
    magic: tuple[bytes, ...] = ()
    kind: Literal["table", "array"] = "table"
    is_text: bool = False


FORMATS = {
    "parquet": Format("parquet", (".parquet", ".pq"), (b"PAR1",)),
    "npy": Format("npy", (".npy",), (b"\x93NUMPY",), kind="array"),
    "arrow": Format("arrow_ipc", (".arrow", ".feather"), (b"ARROW1",)),
    "arrows": Format("arrow_ipc", (".arrows",), (b"\xff\xff\xff\xff",)),
    "csv": Format("delimited", (".csv",), is_text=True),
    "tsv": Format("delimited", (".tsv",), is_text=True),
    "jsonl": Format("jsonl", (".jsonl", ".ndjson"), (b"{", b"[{"), is_text=True),
}
# Where neither an option nor a name says it: what is written for a table and for an array, and which of the files of a
# directory are its data.
FOR_KIND = {"table": "csv", "array": "npy"}
IN_DIRECTORY = "parquet"


def known(name: str | None, option: str) -> str | None:
    """The name of a format as an option gives it, if it does; OptionError where there is no such format."""
    if name is not None and name not in FORMATS:
        raise OptionError(f"⟨{option}={name}⟩: unknown format; known are {', '.join(FORMATS)}")
    return name


def by_extension(path: str) -> str | None:
    """The format whose files are named so; None where there is none."""
    suffix = Path(path).suffix.lower()
    return next((name for name, format in FORMATS.items() if suffix in format.extensions), None)


def by_first_bytes(head: bytes) -> str | None:
    """The format whose files begin so; for text without a mark of its own one of columns; None for what is no text."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    text = text[:1] + text[1:].lstrip()  # an object in an array may begin on a line of its own
    for name, format in FORMATS.items():
        if (text if format.is_text else head).startswith(format.magic):
            return name
    if b"\0" in head[:1024]:
        return None
    line = re.split(rb"[\r\n]", text, maxsplit=1)[0]
    return "tsv" if b"\t" in line and b"," not in line else "csv"


def output_format(path: str | None, given: str | None, is_array: bool) -> str:
    """The format of an output: as given, else by extension, else CSV for tables and NPY for arrays."""
    if name := known(given, "to_format"):
        return name
    if path is None:
        return FOR_KIND["array" if is_array else "table"]
    if name := by_extension(path):
        return name
    extensions = " ".join(extension for format in FORMATS.values() for extension in format.extensions)
    suffix = Path(path).suffix.lower() or "(none)"
    raise OptionError(f"{path}: no format has the extension {suffix!r}; use one of {extensions}, or ⟨to_format⟩")


def load(name: str) -> ModuleType:
    """The module that reads and writes a format, imported when it is first needed."""
    return importlib.import_module(f".{FORMATS[name].module}", __name__)
