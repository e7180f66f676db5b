"""The spine run over a shard: its results written, or its losses counted."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import cast

from ..core.device import DeviceWithKernels
from ..core.errors import OptionError
from ..flow.process import settle
from ..formats import output_format
from ..formats.frames import FORMAT, Frame, InMemory
from ..formats.sinks import Made, Sink, open_sink
from ..formats.sources import Rows
from ..operations.loss import Loss
from ..operations.losses import Losses
from ..operations.warm import warm, warm_places
from ..stream import Silent, results, run
from ..tables.gather import gathered
from ..tables.giants import Giants, Told
from ..tables.matrix import unrolled
from ..tables.results import Counts, unheard
from .job import Job, Shard


def run_shard(job: Job, shard: Shard) -> Counts:
    """Everything opened, and the spine run."""
    with job.opened(shard) as (source, table, output, budget):
        in_memory = shard.sink if isinstance(shard.sink, InMemory) else None
        if in_memory and job.to_format is not None:
            raise OptionError(f"⟨to_format={job.to_format}⟩ is for files, and the result stays in memory")
        format = FORMAT if in_memory else output_format(shard.path, job.to_format, table.is_array)
        table.check(format)
        warm(job.operation, str(table.dtype), table.on, job.wait)  # kernels stay: memory is measured with them
        if table.asks_places:
            warm_places(str(table.dtype), job.wait)
        measured = partial(settle, budget, table.on.batch)
        measured()
        with contextlib.closing(budget), contextlib.ExitStack() as opened:
            how, count = job.how(table), source.rows if table.keeps_rows else None
            whole, table = table, unrolled(source, table, budget, format)  # whole rows are written
            each = source.unrolled if table.keeps_rows else 0
            made = Made(format, whole.schema, whole.results, count, how, whole.of_matrices, each)
            out: Sink | None = in_memory
            if in_memory:
                in_memory.begin(table.schema)
            elif shard.sink is None and job.to_format is None:
                out = job.words.preview(table.schema, table.results, table.found)
            out, rows = out or open_sink(opened.enter_context(output), made), cast(Rows, source)
            if job.sort_groups:
                rows, table, out = gathered(source, table, out, budget, job.temp_dir, job.words.read)
            how_run = (table.on, budget, job.words, job.temp_dir, measured)
            counts = run(rows, job.operation, table, out, how, *how_run)
            counts.files = [one.path for one in (output, *output.companions)]
            return counts


def count_losses(job: Job, sources: list[str | Frame]) -> list[float]:
    """How many rankings have a loss, or the sum of their weights, of each that is asked for: what its mean divides by,
    and so its gradient, which is then computed in a second pass over the input.
    """
    if any(one == "-" or (isinstance(one, Frame) and one.is_read_once) for one in sources):
        raise OptionError(
            "the gradient of a mean reads its input twice; name a file or a table, or pass ⟨reduction=sum⟩ and divide "
            "by the number of rankings"
        )
    operation = cast(Loss | Losses, job.operation).without_gradient()
    counting = replace(job, operation=operation, words=Silent())
    with counting.opened(Shard(sources, None)) as (source, table, _, budget), contextlib.closing(budget):
        warm(operation, str(table.dtype), table.on, job.wait)
        measured = partial(settle, budget, table.on.batch)
        measured()
        table, rows = unrolled(source, table, budget, None), cast(Rows, source)
        if job.sort_groups:
            rows, table, _ = gathered(source, table, Sink(), budget, job.temp_dir)
        counts = Counts()
        told = Told(unheard, measured, job.temp_dir)
        giants = Giants(rows, operation, table, cast(DeviceWithKernels, table.on), budget, told)
        for _, freed in results(operation, table, giants.batches(), table.on, counts, giants):
            budget.give(freed)
        return [total.of for total in counts.totals] or [0] * len(operation.called)
