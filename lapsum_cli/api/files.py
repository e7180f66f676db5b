"""The command as a function: an operation by name, with the options as they are typed, on files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from .. import __version__
from ..core.errors import OptionError
from ..engines import engine_called, sends
from ..formats.dialect import Given
from ..formats.files import is_directory
from ..formats.frames import Frame, InMemory, is_frame
from ..operations.loss import Loss, check_reduction
from ..operations.losses import Losses
from ..operations.operation import ByMethod
from ..operations.topk import TopK
from ..stream import Silent
from ..tables.results import Asked, Counts
from ..tables.roles import Names
from .compress import compress
from .job import Job, Shard
from .operation import make_operation, stages_of
from .shards import count_losses, run_shard

IN_MEMORY = "arrow"  # the sink that is no file


def run_file(
    operation: str,
    source: Any,
    sink: Any = None,
    *,
    alpha: Any = None,
    alpha_column: str | None = None,
    k: Any = None,
    k_column: str | None = None,
    q: Any = None,
    group: Any = None,
    score: str | None = None,
    columns: str | None = None,
    column: str | None = None,
    upstream: Any = None,
    target: Any = None,
    stages: Any = None,
    weight: str | None = None,
    item: str | None = None,
    keep: Any = None,
    reduction: str = "none",
    nan: str = "error",
    sort_groups: bool = False,
    temp_dir: str | None = None,
    from_format: str | None = None,
    to_format: str | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
    escape: str | None = None,
    no_header: bool = False,
    force: bool = False,
    memory: str | int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    engine: str = "threads",
    workers: int | None = None,
    ray_address: str | None = None,
    resume: bool = False,
    dry_run: bool = False,
    words: Any = None,
    **options: Any,
) -> Any:
    """Apply an operation to a file of any size, as the command does; returns what was done (rows, rankings, scores), or
    the result itself for sink="arrow".

    operation  "rank", "sort", "topk", "quantile", "permute", or "loss" with loss="spearman" or another of
               operations.LOSSES, a metric such as "ndcg@10" (METRICS), or several, "ndcg,spearman,mrr"
    source     a path, a glob, a directory of Parquet, here or as s3://bucket/x; "-" for standard input; a table in
               memory, or a stream of one: Arrow, pandas, Polars, DuckDB, and whatever else has __arrow_c_stream__; or a
               list of these
    sink       a path; a directory, or a path that ends with "/", for a file of results for each input; "arrow" for a
               pyarrow.Table, with how it was made in its metadata (lapsum); None writes to standard output
    alpha, k   as the command takes them, such as 0.1, "0.1std", "0.15mad", 10, "10%", "10,100"; or the columns that
               hold them
    q          which quantiles, from 0 to 1, such as 0.5 or "0.5,0.9"
    group      a column name or several; score a column name; columns a pattern of score columns (wide tables)
    column     the name of the result's column
    upstream   the column of a gradient with respect to the result, for that with respect to the scores; target that of
               a loss; for NPY the file of an array of the same shape
    stages     of a loss of a cascade: the columns of both scores, "pre,ret" or a list, in place of score
    weight     of losses: the column of what each ranking counts, 0 or more, by which its loss is multiplied
    item       the column that says what an item of a permutation is called; "" for its number
    keep       of sorted scores: the columns of the input, one or several, to write beside each position: those of the
               item whose score has that place
    reduction  of losses: "none", "sum" or "mean"
    sort_groups: bring the rows of a ranking together, which may come in any order; results keep the input's order.
               What memory does not hold goes to files in temp_dir, by default the system's, and they with the run;
               so does what is sent to an object store, until it is whole
    delimiter, quote, escape
               of a CSV or TSV that is read: the character between fields, around them ("" for none), and before a quote
               within quotes that is not doubled
    no_header  whether its first line is a row already; its columns are then called "1", "2", ...
    memory     a size such as "256MiB"; by default a quarter of the limit in force, at most 4 GiB. Tables in memory that
               are given, or asked for, are not part of it
    device     "cpu", "cuda" for an NVIDIA GPU, or "auto" for a GPU where one works
    engine     who computes the files of a directory: "threads" of this process; `workers` "processes", among which
               memory and threads are divided; or "ray", as many tasks at a time of the cluster at ray_address
               (host:port), by default that of RAY_ADDRESS, else one of this machine
    resume     go on with a directory where an earlier run has stopped
    dry_run    return the plan of a directory (api.planned.Plan), and compute nothing
    words      who is told what was detected and how far it is: an object such as stream.Silent
    options    those of the operation, as its class in operations has them; descending=False puts the smallest score
               first, and of a topk largest=False
    Raises a LapsumError for whatever the user can fix.
    """
    group = (group,) if isinstance(group, str) else group and tuple(group)
    beside = {"upstream": upstream, "target": target}
    beside = {what: None if name is None else str(name) for what, name in beside.items()}
    keep = (keep,) if isinstance(keep, str) else tuple(keep or ())
    if stages is not None:
        score, beside["stage"] = options["stages"] = stages_of(stages, options.get("loss"), score, columns)
    names = Names(group, score, columns, alpha_column, k_column, weight=weight, item=item, keep=keep, **beside)
    sources = _inputs(source if isinstance(source, list | tuple) else [source])
    held = InMemory() if isinstance(sink, str) and sink == IN_MEMORY else None
    check_reduction(reduction)
    made = make_operation(operation, alpha, k, names, q=q, **options)
    made = replace(made, force=True) if force and isinstance(made, ByMethod | Loss) else made
    made = made.forced() if force and isinstance(made, Losses) else made
    asked = Asked(nan, column, reduction, item)
    dialect = Given(delimiter, quote, escape, no_header)
    told = words or Silent()
    if getattr(made, "residual", None) is not None:
        return _compressed(cast(TopK, made), sources, sink, alpha, to_format, force, memory)
    job = Job(
        made, names, asked, from_format, dialect, to_format, force, memory, threads, device, told, sort_groups, temp_dir
    )
    path = None if sink is None or held else os.fsdecode(sink)
    if is_directory(path) or resume or dry_run:
        from .datasets import run_dataset
        from .planned import How

        return run_dataset(job, sources, path, How(engine, workers, ray_address, resume, dry_run))
    if reduction == "mean" and isinstance(made, Loss | Losses) and made.gradient:
        job = replace(job, operation=made.scaled(count_losses(job, sources)))
    runs, shard = engine_called(engine, workers, ray_address), Shard(sources, held or path)
    if sends(runs):
        job.say("one output is computed by this process; a directory of them by several")
    [counts] = [run_shard(job, shard)] if sends(runs) else runs.run(partial(run_shard, job), [shard], 1)
    return held.table if held else counts


def _compressed(
    made: TopK, sources: list[Any], sink: Any, alpha: Any, to_format: str | None, force: bool, memory: Any
) -> Counts:
    """As compress has it; OptionError for what does not go with it."""
    if len(sources) != 1 or not isinstance(sources[0], str) or (isinstance(sink, str) and sink == IN_MEMORY):
        raise OptionError("⟨residual⟩ compresses one NPY file into another file, or into standard output")
    plain = TopK(ks=made.ks, by=made.by, residual=made.residual, force=made.force)
    if alpha is not None or made != plain or len(made.ks) != 1:
        raise OptionError("⟨residual⟩ sends scores as they are; it goes with one ⟨k⟩ and ⟨by=magnitude⟩ alone")
    how = {"operation": "topk", "k": str(made.ks[0]), "by": "magnitude", "residual": True, "version": __version__}
    path, kept = None if sink is None else os.fsdecode(sink), made.residual or ""
    return compress(sources[0], path, kept, made.ks[0], to_format=to_format, force=force, memory=memory, how=how)


def _inputs(given: Sequence[Any]) -> list[str | Frame]:
    """Paths as text, tables in memory as frames; OptionError for what is neither."""
    found: list[str | Frame] = []
    if not len(given):
        raise OptionError("name a source: a path, or a table of Arrow, pandas, Polars or DuckDB")
    for one in given:
        if not is_frame(one) and not isinstance(one, str | bytes | os.PathLike):
            raise OptionError(
                f"a source is a path, or a table of Arrow, pandas, Polars or DuckDB, got {type(one).__name__}"
            )
        name = f"table {len(found) + 1}" if len(given) > 1 else "the table"
        found.append(Frame(one, name) if is_frame(one) else os.fsdecode(one))
    once = [id(one.given) for one in found if isinstance(one, Frame) and one.is_read_once]
    if len({*once}) < len(once):
        raise OptionError("the same stream is given twice, and can be read only once")
    return found
