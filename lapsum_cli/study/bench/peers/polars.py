"""Polars, on as many cores as it likes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "polars"


def ranks(case: Case, scores: Any) -> Any:
    """rank, over a column of groups if there are several."""
    import polars as pl

    rank = pl.col("score").rank("average", descending=True)
    if case.rankings == 1:
        return pl.DataFrame({"score": scores.reshape(-1)}).select(rank)["score"]
    return pl.DataFrame({"query": case.shape.queries, "score": scores.reshape(-1)}).select(rank.over("query"))["score"]


def from_file_to_file(source: str, sink: str, threads: int | None) -> None:
    """rank over the scores of each query, streamed."""
    if threads:
        os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars as pl

    rank = pl.col("score").rank("min", descending=True).over("qid").alias("rank")
    pl.scan_parquet(source).with_columns(rank).sink_parquet(sink, compression="zstd")


MODULES = {"polars": {"rank": ranks}}
UNEVEN = {"rank": ranks}
