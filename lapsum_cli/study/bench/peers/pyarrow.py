"""PyArrow: the floor of what goes from file to file, where a float column is added and nothing is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

LABEL = "pyarrow"
MODULES: dict[str, dict] = {"pyarrow": {}}


def from_file_to_file(source: str, sink: str, threads: int | None) -> None:
    """Every column as PyArrow writes it unless it is told otherwise."""
    copy(source, sink, threads, lambda schema: True)


def copy(source: str, sink: str, threads: int | None, dictionary: Callable[[pa.Schema], bool | list[str]]) -> None:
    """The Parquet with its scores once more; dictionary(schema): which columns have one, as use_dictionary takes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if threads:
        pa.set_cpu_count(threads)
    with pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20) as file:
        schema = file.schema_arrow.append(pa.field("copy", pa.float32()))
        with pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=dictionary(schema)) as out:
            for batch in file.iter_batches(1 << 20):
                out.write_batch(pa.RecordBatch.from_arrays([*batch.columns, batch.column("score")], schema=schema))
