"""What is said of a run that went well, and of one that is planned: lines for people, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..operations.suspicions import one_each

_MIB = 1 << 20
_COUNTED = ("rows", "rankings", "scores", "written", "short", "nan", "shards", "resumed")
_SHOWN = 20  # files of a plan


def what_was_done(name: str, counts: Any, output: str | None) -> Iterator[str]:
    """What the user should know of a run that went well, a line each."""
    if counts.short:
        several = f"{counts.short} of {counts.rankings} rankings are shorter than k; their k is their length"
        short = several if counts.rankings > 1 else "the ranking is shorter than k; its k is its length"
        yield short + (" (--strict-k refuses that)" if name == "topk" else "")
    if counts.alone == counts.rankings > 1:
        yield one_each(counts.rankings)
    if counts.padding:
        yield counts.padding
    if counts.nan:
        yield f"{counts.nan} NaN or null scores were left out: they {counts.without_score}"
    yield from _means(counts)
    if softness := counts.how_soft.line():
        yield softness
    written = f" -> {output}{_files(counts)}" if output else ""
    rankings = "1 ranking" if counts.rankings == 1 else f"{counts.rankings} rankings"
    each = f", {counts.written / max(counts.rankings, 1):.3g} a ranking"
    left = f", {counts.written} of {counts.rows} rows kept{each}" if counts.written < counts.rows else ""
    if name in ("permute", "loss", "quantile"):
        left = ", 1 row" if counts.written == 1 else f", {counts.written} rows"
    yield f"{counts.scores} scores in {rankings}{left}{written}"


def _means(counts: Any) -> Iterator[str]:
    """The mean of each loss, and of how many rankings."""
    for called, total in zip(counts.called, counts.totals, strict=False):
        undefined = counts.rankings - total.count
        without = f"; {undefined} have none: their target is constant, without gain, or too short" if undefined else ""
        mean = "undefined" if total.mean is None else f"{total.mean:.6g}"
        by = "" if total.weights is None else " by weight"
        yield f"mean {called} {mean}{by} over {total.count} rankings{without}"


def _files(counts: Any) -> str:
    """How many files of a data set there are, and what an earlier run had of them."""
    if not hasattr(counts, "shards"):
        return ""
    files = "1 file" if counts.shards == 1 else f"{counts.shards} files"
    return f": {files}, {counts.resumed} of them finished before" if counts.resumed else f": {files}"


def of_plan(plan: Any) -> Iterator[str]:
    """What a run would do, a line each: every file of results, up to some, and what all take."""
    for shard in plan.shards[:_SHOWN]:
        rows = "rows not known" if shard.piece.rows is None else f"{shard.piece.rows} rows"
        parts = [part.path for part in shard.piece.parts]
        more = f" and the head of {', '.join(parts[1:])}" if len(parts) > 1 else ""
        done = ", finished" if shard.name in plan.done else ""
        yield f"{shard.name}: {rows} of {parts[0]} ({shard.bytes} bytes){more}{done}"
    if len(plan.shards) > _SHOWN:
        yield f"... and {len(plan.shards) - _SHOWN} more"
    left = f", {len(plan.done)} of them finished" if plan.done else ""
    yield f"files: {len(plan.shards)}{left}, of {sum(shard.bytes for shard in plan.shards)} bytes -> {plan.directory}"
    yield f"workers: {plan.workers}, of {plan.memory // _MIB} MiB and {plan.threads} threads each"
    yield from (f"pass {i}: {what}" for i, what in enumerate(plan.passes, 1))
    if plan.seconds is not None:
        yield f"time: {plan.seconds:.0f} s, at the rate of what is finished"


def in_json(done: Any) -> str:
    """What was done, or is planned, as JSON."""
    if hasattr(done, "passes"):
        shards = [
            {
                "name": shard.name,
                "rows": shard.piece.rows,
                "bytes": shard.bytes,
                "parts": [[part.path, part.first, part.stop] for part in shard.piece.parts],
                "finished": shard.name in done.done,
            }
            for shard in done.shards
        ]
        told = {
            name: getattr(done, name) for name in ("directory", "workers", "memory", "threads", "passes", "seconds")
        }
        return json.dumps({**told, "shards": shards})
    told = {name: getattr(done, name) for name in _COUNTED if hasattr(done, name)}
    losses = zip(done.called, done.totals, strict=False)
    means = {called: total.mean for called, total in losses}
    return json.dumps({**told, **({"means": means} if means else {})})
