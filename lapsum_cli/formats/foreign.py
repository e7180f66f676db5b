"""What is no format of ours, told by what stands at its beginning: so that a refusal says what it is and what to do."""

from __future__ import annotations

import codecs
import re

# First bytes; what they are; what makes of such a file one that is read.
_BINARY = (
    (b"\x1f\x8b", "is compressed with gzip", "unpack it, as with gzip -dc FILE | lapsum COMMAND -"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "unpack it, as with zstd -dc FILE | lapsum COMMAND -"),
    (b"BZh", "is compressed with bzip2", "unpack it, as with bzip2 -dc FILE | lapsum COMMAND -"),
    (b"\xfd7zXZ\0", "is compressed with xz", "unpack it, as with xz -dc FILE | lapsum COMMAND -"),
    (b"\x04\x22\x4d\x18", "is compressed with lz4", "unpack it, as with lz4 -dc FILE | lapsum COMMAND -"),
    (
        b"PK\x03\x04",
        "is a ZIP archive, as those of Excel and of NumPy's savez are",
        "write its table or array by itself",
    ),
    (b"SQLite format 3\0", "is a database of SQLite", "write the table as CSV, as with sqlite3 -csv -header"),
    (b"\x89HDF\r\n\x1a\n", "is HDF5", "write its table as Parquet, or its array as NPY"),
    (b"ORC", "is ORC", "write it as Parquet"),
    (b"Obj\x01", "is Avro", "write it as Parquet"),
)
_LETOR = re.compile(r"\S+ qid:\S+( \d+:\S+)*")
_JSON_ARRAY = re.compile(rb"\s*\[\s*[\[{\d\"-]")


def what_it_is(head: bytes) -> str | None:
    """What a file is that begins so, and what to do; None for what may be read."""
    for magic, what, to_do in _BINARY:
        if head.startswith(magic) and not _is_text(head[:1024]):
            return f"{what}; {to_do}"
    return None


def _is_text(beginning: bytes) -> bool:
    try:
        return b"\0" not in beginning and codecs.getincrementaldecoder("utf-8")().decode(beginning) is not None
    except UnicodeDecodeError:
        return False


def is_json_array(text: bytes) -> bool:
    """Whether a text begins as an array of JSON does."""
    return _JSON_ARRAY.match(text) is not None


def hint_of_columns(names: list[str]) -> str | None:
    """What the names of columns without a score show of a text that was taken for CSV; None for nothing."""
    first = names[0] if names else ""
    if _LETOR.match(first):
        return "it looks like LETOR lines (label qid:1 1:0.5 ...): write a table with columns for label, qid and score"
    if len(names) == 1:
        for delimiter, given in ((";", ";"), ("\t", "\\t"), ("|", "|"), (" ", " ")):
            if delimiter in first.strip():
                return f"fields seem to be separated by '{given}': pass ⟨delimiter={given}⟩"
    if any(name.replace(".", "", 1).lstrip("-").isdigit() for name in names):
        return "the first line of a text is taken for column names: add such a line, or pass ⟨no_header=True⟩"
    return None
