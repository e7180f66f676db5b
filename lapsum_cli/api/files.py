"""The command as a function: an operation by name, with the options as they are typed, on files."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from .. import __version__, devices
from ..core.device import DeviceWithKernels
from ..core.errors import OptionError
from ..devices import machine
from ..engines import engine_called, sends
from ..flow.budget import Budget
from ..flow.process import held_besides, memory_budget, memory_size, returning_memory, settle
from ..formats import output_format
from ..formats.dialect import Given
from ..formats.files import Output, Part, is_directory
from ..formats.frames import FORMAT, Frame, InMemory, is_frame
from ..formats.sinks import Made, Sink, open_sink
from ..formats.sources import Common, Rows, Sources
from ..operations.loss import Loss, check_reduction
from ..operations.losses import Losses
from ..operations.operation import PAIR, POSITION, RANKING, SCORE, ByMethod, Operation
from ..operations.topk import TopK
from ..operations.warm import on_terminal, warm, warm_places
from ..stream import Silent, results, run
from ..tables.detect import detect, find_item
from ..tables.gather import gathered
from ..tables.giants import Giants, Told
from ..tables.groupsfile import GroupsFile
from ..tables.layout import Layout
from ..tables.long import Long
from ..tables.matrix import unrolled
from ..tables.pairs import Pairs
from ..tables.positions import ByPosition
from ..tables.results import Asked, Beside, Counts, RowEach, Table, unheard
from ..tables.roles import Names
from .compress import compress
from .operation import make_operation, stages_of

IN_MEMORY = "arrow"  # the sink that is no file
# The form of a result, by what its slots are per: the first that one of them is.
FORMS: dict[str, type[Table]] = {SCORE: Beside, POSITION: ByPosition, PAIR: Pairs, RANKING: RowEach}


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


@dataclass(frozen=True)
class Shard:
    """Inputs that are read as one, and where their result goes."""

    sources: Sequence[str | Part | Frame]
    sink: str | InMemory | None
    number: int = 0  # of the shard in its data set
    before: int = 0  # rankings of the data set that come before
    groups: str | None = None  # the file in which it leaves its groups, which no other shard may have

    def __str__(self) -> str:
        return self.path or "standard output"

    @property
    def is_in_memory(self) -> bool:
        """Whether tables in memory are given or asked for."""
        return isinstance(self.sink, InMemory) or any(isinstance(source, Frame) for source in self.sources)

    @property
    def path(self) -> str | None:
        """Of the file that it goes to; None where it goes to standard output, or stays in memory."""
        return self.sink if isinstance(self.sink, str) else None


@dataclass(frozen=True)
class Job:
    """What is to be done with every shard."""

    operation: Operation
    names: Names
    asked: Asked
    from_format: str | None
    dialect: Given
    to_format: str | None
    force: bool
    memory: str | int | None
    threads: int | None
    device: str
    words: Any
    sort_groups: bool
    temp_dir: str | None
    common: Common | None = None  # of the inputs of a data set
    replaces: bool = False  # what a run that was killed has finished, and not said so

    def say(self, line: str) -> None:
        """A line for whoever is told, in their words."""
        self.words.say(self.words.spell(line))

    def wait(self, line: str) -> None:
        """Why it takes a while: on a terminal also where nobody asked to be told."""
        on_terminal(line) if type(self.words) is Silent else self.say(line)

    @contextlib.contextmanager
    def opened(self, shard: Shard) -> Iterator[tuple[Sources, Table, Output, Budget]]:
        """The sources, what the operation makes of their table, the output, and the budget, not settled yet."""
        size = memory_size(self.memory) + (held_besides() if shard.is_in_memory else 0)
        with contextlib.ExitStack() as stack:
            stack.enter_context(returning_memory(size))
            budget = stack.enter_context(contextlib.closing(memory_budget(size)))
            names = self.names
            given = (self.from_format, names.numbers, budget, names.beside, self.dialect, self.common)
            source = Sources(shard.sources, *given)
            stack.enter_context(contextlib.closing(source))
            threads = self.threads or machine.cores()
            on: Any = devices.choose(self.device, threads, self.say)
            names = names.for_array() if source.is_array else names
            layout = detect(source.schema, names, source.is_array, source.first.name, self.say)
            read = [file.name for file in (*source.inputs, *source.beside.values())]
            output = Output(shard.path, self.force or self.replaces, read, self.temp_dir)
            free = math.nan if self.force else output.free()
            if shard.groups and isinstance(layout, Long):
                kept = stack.enter_context(Output(shard.groups, True, temp_dir=self.temp_dir))
                layout.kept = stack.enter_context(contextlib.closing(GroupsFile(kept.stream)))
            asked = replace(self.asked, threads=threads, free=free, before=shard.before, say=self.say)
            if "item" in self.operation.takes:
                asked = replace(asked, item=find_item(source.schema, layout, source.first.name, self.say))
            form = form_of(self.operation, layout, source.is_array)
            yield source, form(self.operation, layout, source, asked, on), output, budget

    def how(self, table: Table) -> dict[str, Any]:
        """How a result is made: whatever changes its numbers, and nothing that varies from run to run."""
        names = table.layout.names
        given = {name: {"column": column} for name, column in {**names.each, **names.beside}.items()}
        said = {"nan": self.asked.nan, "device": table.on.name, "version": __version__}
        return {**self.operation.describe(), **given, **table.layout.describe(), **said}


def form_of(operation: Operation, layout: Layout, is_array: bool) -> type[Table]:
    """The form of what an operation gives. In a row that is a ranking, and in an array, a value for each position has
    its place as one for each score has.
    """
    in_its_place = {POSITION: SCORE} if layout.closes_with_row or is_array else {}
    per = {in_its_place.get(slot.per, slot.per) for slot in operation.gives}
    return next(form for each, form in FORMS.items() if each in per)


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
