"""PyArrow as used by who knows that floats gain nothing from a dictionary."""

from .pyarrow import copy

LABEL = "pyarrow tuned"
MODULES: dict[str, dict] = {"pyarrow": {}}


def from_file_to_file(source: str, sink: str, threads: int | None) -> None:
    """The copy of pyarrow.py, with dictionaries for all other columns."""
    import pyarrow as pa

    copy(source, sink, threads, lambda schema: [f.name for f in schema if not pa.types.is_floating(f.type)])
