"""What other tools make of a long Parquet of qid, docid, score: a script of its own, with no imports of ours.

    filepeers.py TOOL THREADS IN OUT

Each adds one column, compresses with zstd, and ends when the output is on the disk, as lapsum does. Where THREADS is
empty it takes what it likes.
"""

import os
import sys


def duckdb(source, sink, threads):
    import duckdb

    connection = duckdb.connect(config={"threads": threads} if threads else {})
    ranked = f"select *, rank() over (partition by qid order by score desc) as rank from read_parquet({_sql(source)})"
    connection.execute(f"copy ({ranked}) to {_sql(sink)} (format parquet, compression zstd)")


def polars(source, sink, threads):
    if threads:
        os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars as pl

    rank = pl.col("score").rank("min", descending=True).over("qid").alias("rank")
    pl.scan_parquet(source).with_columns(rank).sink_parquet(sink, compression="zstd")


def pyarrow(source, sink, threads):
    """The floor: a float column is added, and nothing is computed."""
    _copy(source, sink, threads, lambda schema: True)


def pyarrow_tuned(source, sink, threads):
    """The same by who knows that floats gain nothing from a dictionary."""
    import pyarrow as pa

    _copy(source, sink, threads, lambda schema: [f.name for f in schema if not pa.types.is_floating(f.type)])


def _copy(source, sink, threads, dictionary):
    import pyarrow as pa
    import pyarrow.parquet as pq

    if threads:
        pa.set_cpu_count(threads)
    with pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20) as file:
        schema = file.schema_arrow.append(pa.field("copy", pa.float32()))
        with pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=dictionary(schema)) as out:
            for batch in file.iter_batches(1 << 20):
                out.write_batch(pa.RecordBatch.from_arrays([*batch.columns, batch.column("score")], schema=schema))


def _sql(text):
    return "'" + text.replace("'", "''") + "'"


def _sync(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


TOOLS = {"duckdb": duckdb, "polars": polars, "pyarrow": pyarrow, "pyarrow-tuned": pyarrow_tuned}

if __name__ == "__main__":
    tool, threads, source, sink = sys.argv[1:]
    TOOLS[tool](source, sink, int(threads) if threads else None)
    _sync(sink)
