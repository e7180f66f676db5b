"""DuckDB, on as many cores as it likes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "duckdb"


def ranks(case: Case, scores: Any) -> Any:
    """rank() over the scores of each query."""
    return _queried(case, scores, "select rank() over (partition by query order by score desc) from scores")


def topk(case: Case, scores: Any) -> Any:
    """The rows of the k largest."""
    row = "row_number() over (partition by query order by score desc)"
    return _queried(case, scores, f"select * from scores qualify {row} <= {case.top}")


def _queried(case: Case, scores: Any, query: str) -> Any:
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as connection:
        connection.register("scores", pa.table({"query": case.shape.queries, "score": scores.reshape(-1)}))
        return connection.sql(query).fetchnumpy()


def from_file_to_file(source: str, sink: str, threads: int | None) -> None:
    """rank() over the scores of each query."""
    import duckdb

    connection = duckdb.connect(config={"threads": threads} if threads else {})
    ranked = (
        f"select *, rank() over (partition by qid order by score desc) as rank from read_parquet({_quoted(source)})"
    )
    connection.execute(f"copy ({ranked}) to {_quoted(sink)} (format parquet, compression zstd)")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


MODULES = {"duckdb": {"rank": ranks, "topk": topk}}
