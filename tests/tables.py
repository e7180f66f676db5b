"""Tables of rankings, written and read by other hands than the product's: a mistake made the same way twice would not
show.
"""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lapsum_cli import soft_rank, soft_topk

LENGTHS = [3, 1, 40, 2, 120, 7]
TITLES = [
    "plain",
    'a "quoted" one',
    "comma, then\nnewline",
    "\r\n",
    "naïve 东京 🚀",
    "tab\there",
    "back\\slash",
    None,
    " edges ",
]
TABLES = ["parquet", "arrow", "arrows", "csv", "tsv", "jsonl"]


def rng():
    return np.random.default_rng(20250713)


def rankings(dtype=np.float64, lengths=LENGTHS):
    return [rng().permuted(np.linspace(-3, 3, n)).astype(dtype) for n in lengths]


def long_table(rows, **columns) -> pa.Table:
    """Group ids as text with leading zeros, document ids of 19 digits, titles that need quotes."""
    total = sum(map(len, rows))
    return pa.table(
        {
            "qid": [f"{r:03}" for r, row in enumerate(rows, 7) for _ in row],
            "docid": pa.array(np.arange(total) + 9007199254740993007, pa.int64()),
            "title": [TITLES[i % len(TITLES)] for i in range(total)],
            "score": np.concatenate(rows),
            **columns,
        }
    )


def on_one_line(table: pa.Table) -> pa.Table:
    """The table with blanks for tabs and line ends in its titles, which TSV has no place for."""
    titles = pc.replace_substring_regex(table["title"], r"[\t\r\n]", " ")
    return table.set_column(table.schema.get_field_index("title"), "title", titles)


def ranks(rows, **options) -> np.ndarray:
    return np.concatenate([soft_rank(row, **options) for row in rows])


def members(rows, k, **options) -> np.ndarray:
    return np.concatenate([soft_topk(row, k, **options) for row in rows])


def put(table: pa.Table, path, format=None, rows=None):
    """Write a table; rows: how many a group or a batch of the formats that have them has."""
    format = format or path.suffix[1:]
    if format == "parquet":
        pq.write_table(table, path, row_group_size=rows or 50)
    elif format in ("arrow", "arrows"):
        with (pa.ipc.new_file if format == "arrow" else pa.ipc.new_stream)(path, table.schema) as out:
            out.write_table(table, max_chunksize=rows or 31)
    elif format == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()))
    elif format == "tsv":  # fields are what stands between tabs
        rows = [table.column_names, *zip(*map(as_text, table.columns), strict=True)]
        assert not any(set("\t\r\n") & set(field) for row in rows for field in row)
        path.write_bytes("".join("\t".join(row) + "\n" for row in rows).encode())
    else:
        with path.open("w", newline="") as out:
            rows = csv.writer(out)
            rows.writerows([table.column_names, *zip(*(column.to_pylist() for column in table.columns), strict=True)])
    return path


def get(path, format=None) -> pa.Table:
    format = format or path.suffix[1:]
    if format == "parquet":
        return pq.read_table(path)
    if format in ("arrow", "arrows"):
        return (pa.ipc.open_file if format == "arrow" else pa.ipc.open_stream)(path.read_bytes()).read_all()
    if format == "jsonl":
        return pa.Table.from_pylist([json.loads(line) for line in path.read_text().splitlines()])
    text = path.read_bytes().decode()
    if format == "tsv":
        names, *rows = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    else:
        names, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def floats(column) -> np.ndarray:
    return np.array([np.nan if value in (None, "") else float(value) for value in column.to_pylist()])


def as_text(column) -> list[str]:
    return ["" if value is None else str(value) for value in column.to_pylist()]
