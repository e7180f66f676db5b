"""A data set in, a data set out: a file of results for each file of scores, a manifest of those that are finished, and
a run that goes on where another has stopped.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..core import unfinished
from ..core.errors import DataError, LapsumError, OutputError
from ..engines import divides, engine_called, opened, sends
from ..engines.manifest import SHARD, Manifest, lists_any
from ..formats.places import MANIFEST, place_at
from ..formats.temporary import temporary_place
from ..operations.how_soft import HowSoft
from ..operations.loss import Loss
from ..operations.losses import Losses
from ..operations.warm import warm
from ..stream import Silent
from ..tables.groupsfile import sharing, twice
from ..tables.long import Long
from ..tables.results import Counts, Table
from ..tables.totals import Total
from . import one_ranking
from .job import Job, Shard
from .passes import Shared
from .planned import BY_FILE, ONE_RANKING, SHUFFLED, How, Plan, about, directory_of, kind_of, plan_of, planned
from .returning import by_threads, returned_group
from .shards import count_losses, run_shard
from .shuffled import FOLDER, Stage, Task, stages_of

_GROUPS = ".lapsum-groups"  # the folder of what shards leave of their groups until all are finished
_COUNTED = ("rows", "rankings", "scores", "written", "short", "nan", "alone")


@dataclass
class DataSet(Counts):
    """What was done: counts of all shards, of which `resumed` had been finished by an earlier run."""

    shards: int = 0
    resumed: int = 0


def run_dataset(job: Job, sources: list[Any], directory: str | None, how: How) -> DataSet | Plan:
    """Apply a job to a data set, a file of results for each of its files; of a dry run, the plan."""
    named = engine_called(how.engine, how.workers, how.ray_address)
    directory = directory_of(job, sources, directory)
    _refuse_place(directory, is_new=not (how.resume or job.force))
    with opened(named, how.ray_address, job.device) as engine:
        return _run_by(engine, job, sources, directory, how)


def _run_by(engine: Any, job: Job, sources: list[Any], directory: str, how: How) -> DataSet | Plan:
    """By an engine. Where its workers have devices of their own, this process plans on its CPU."""
    device = getattr(engine, "device", None)
    job = replace(job, device="cpu") if device == "cuda" else replace(job, device=device or job.device)
    with job.opened(Shard(sources, None)) as (source, table, _, _):
        shards = planned(job, source, table, sources, directory)
        plan = plan_of(job, directory, kind_of(job, source, table), shards, how.workers, engine)
        device = device or table.on.name
        line = about(job, table, source, device)
        common = None if source.is_array else source.common
        if not how.dry_run and device == table.on.name and (divides(engine) or not sends(engine)):
            warm(job.operation, str(table.dtype), table.on, job.wait)
    with _begun(plan, line, how, job.force) as (plan, manifest):
        if manifest is None:
            return plan
        if plan.todo and job.asked.reduction == "mean" and isinstance(job.operation, Loss | Losses):
            job = replace(job, operation=job.operation.scaled(count_losses(job, sources)))
        return _Run(replace(job, common=common), engine, device, plan, manifest, table).run()


@contextlib.contextmanager
def _begun(plan: Plan, line: Mapping[str, Any], how: How, force: bool) -> Iterator[tuple[Plan, Manifest | None]]:
    """The plan with what is done already, and the manifest, begun or gone on with; None for a dry run, of which nothing
    is made. What is left of a run that finishes nothing is removed.

    OutputError where files are in the way, or what was done was of another kind.
    """
    directory, place = plan.directory, place_at(plan.directory)
    is_new = not place.is_directory(directory)
    if how.dry_run and not place.present(directory, [MANIFEST]):
        _refuse_in_the_way(plan, force)
        yield plan, None
        return
    if is_new:
        place.make_directory(directory)
    with contextlib.closing(Manifest(directory)) as manifest:
        try:
            goes_on = manifest.begun is not None and how.resume
            if goes_on:
                manifest.check(line)
                plan = _with_done(plan, manifest)
            else:
                _refuse_in_the_way(plan, force)
            if how.dry_run:
                yield plan, None
                return
            if goes_on:
                manifest.go_on()
            else:
                _remove(directory, [file["name"] for old in manifest.done.values() for file in old["files"]])
                _remove_aside(plan)
                manifest.begin({**line, "shards": len(plan.shards)})
            yield plan, manifest
        except BaseException:
            if not (how.resume or how.dry_run or manifest.done or any(_made(plan))):
                manifest.forget()
                _remove_folders(plan, with_own=is_new)
            raise


def _refuse_place(directory: str, is_new: bool) -> None:
    """OutputError where there can be no such directory, or where it holds a data set and should be new."""
    place_at(directory).refuse_directory(directory)
    if is_new and lists_any(directory):
        ways = "pass ⟨resume=True⟩ to go on with it, or ⟨force=True⟩ to replace it"
        raise OutputError(f"{directory}: holds a data set; {ways}")


def _made(plan: Plan) -> dict[str, int]:
    """The files of results that are there, finished or not, and their bytes."""
    names = [name for shard in plan.shards for name in shard.files]
    return place_at(plan.directory).present(plan.directory, names)


def _refuse_in_the_way(plan: Plan, force: bool) -> None:
    for name, size in _made(plan).items():
        path = os.path.join(plan.directory, name)
        if size < 0:
            raise OutputError(f"{path}: is a directory; name another ⟨sink⟩")
        if not force:
            raise OutputError(f"{path}: exists already; pass ⟨force=True⟩ to replace it")


def _with_done(plan: Plan, manifest: Manifest) -> Plan:
    """The plan with the shards that are finished, and still there; and how long the others take at their rate."""
    done, size, seconds = set(), 0, 0.0
    listed = [file["name"] for line in manifest.done.values() for file in line["files"]]
    groups = [f"{_GROUPS}/{_numbered(i)}" for i in range(len(plan.shards))]
    there = place_at(plan.directory).present(plan.directory, [*listed, *groups])
    for i, shard in enumerate(plan.shards):
        line = manifest.done.get(shard.name)
        if line is None or not _is_there(line, there):
            continue
        if manifest.is_complete or not line["groups"] or groups[i] in there:
            done.add(shard.name)
            size, seconds = size + shard.bytes, seconds + line["seconds"]
    left = sum(shard.bytes for shard in plan.shards if shard.name not in done)
    return replace(plan, done=frozenset(done), seconds=left * seconds / size / plan.workers if size else None)


def _is_there(line: Mapping[str, Any], there: Mapping[str, int]) -> bool:
    """Whether the files of a line are among those that are there."""
    return all(there.get(file["name"]) == int(file["bytes"]) for file in line["files"])


def _numbered(i: int) -> str:
    return f"{i:06}"


def _groups_of(directory: str, i: int) -> str:
    return os.path.join(directory, _GROUPS, _numbered(i))


def _remove(directory: str, names: Sequence[str]) -> None:
    """Remove files of a directory: a manifest may come from anywhere, and is not to name others."""
    for name in names:
        if os.path.isabs(name) or ".." in name.split(os.sep):
            continue
        place_at(directory).remove(os.path.join(directory, name))


def _folders(plan: Plan) -> list[str]:
    """The directories of a data set, those within others first."""
    found = {plan.directory}
    for shard in plan.shards:
        folder = os.path.dirname(shard.name)
        while folder:
            found.add(os.path.join(plan.directory, folder))
            folder = os.path.dirname(folder)
    return sorted(found, key=len, reverse=True)


def _remove_aside(plan: Plan) -> None:
    """What shards leave to each other."""
    for folder in (_GROUPS, FOLDER):
        place_at(plan.directory).remove_tree(os.path.join(plan.directory, folder))


def _remove_folders(plan: Plan, with_own: bool) -> None:
    """The directories that are empty, that of the data set among them or not."""
    _remove_aside(plan)
    place_at(plan.directory).remove_empty(_folders(plan)[: None if with_own else -1])


@dataclass(frozen=True)
class _Finished:
    """What a worker tells of a task: its name and number, what was done, its files, and how long it took."""

    name: str
    number: int
    counts: Counts
    files: list[dict[str, Any]]
    seconds: float


def _run_one(do: Callable[[Job, Any], Counts], job: Job, directory: str, task: Task) -> _Finished:
    """A task of a data set: its files are there, whole, when this returns."""
    began = time.monotonic()
    place = place_at(directory)
    place.make_folders(os.path.dirname(task.path))
    counts = do(job, task.given)
    root = place.absolute(place.settled(directory))
    names = [os.path.relpath(place.absolute(path), root) for path in counts.files]
    files = [{"name": name, "bytes": place.stamp(path)[0]} for name, path in zip(names, counts.files, strict=True)]
    return _Finished(task.name, task.number, counts, files, time.monotonic() - began)


class _Run:
    """A run over the shards that are not finished, by workers on this device."""

    def __init__(self, job: Job, engine: Any, device: str, plan: Plan, manifest: Manifest, table: Table):
        self.job, self.engine, self.plan, self.manifest, self.table = job, engine, plan, manifest, table
        self.device = device
        layout = table.layout
        is_grouped = isinstance(layout, Long) and bool(layout.group) and plan.kind == BY_FILE
        self.compares = is_grouped and len(plan.shards) > 1
        self.fresh: list[Counts] = []
        shards = tuple(self._task(i) for i in range(len(plan.shards)))
        sizes = tuple(shard.bytes for shard in plan.shards)
        self.stages = [Stage(run_shard, shards, sizes)]
        if plan.kind == SHUFFLED:
            self.stages = stages_of(plan.directory, shards, sizes)

    def run(self) -> DataSet:
        """Compute what is to be done, and see that no ranking comes twice; what was done in all."""
        self._sweep()
        if self.compares:
            place_at(self.plan.directory).make_folders(os.path.join(self.plan.directory, _GROUPS))
        try:
            with unfinished.undone_by(self._sweep), contextlib.ExitStack() as ended:
                ended.callback(self._sweep)
                self._compute()
            if self.compares and not self.manifest.is_complete:
                self._refuse_returned()
        except LapsumError:
            self._say_what_is_done()
            raise
        found = self._joined()
        if not self.manifest.is_complete or self.plan.todo:
            self.manifest.end({name: getattr(found, name) for name in ("shards", *_COUNTED)})
        _remove_aside(self.plan)  # needed until that is said
        return found

    def _sweep(self) -> None:
        """Remove what those that were killed have begun."""
        aside = [os.path.join(self.plan.directory, folder) for folder in (_GROUPS, FOLDER)]
        for folder in [*_folders(self.plan), *aside]:
            place_at(self.plan.directory).tidy(folder)

    def _compute(self) -> None:
        job = replace(self.job, replaces=True)
        if sends(self.engine):
            job = replace(job, words=Silent(), device=self.device)
            job = replace(job, memory=self.plan.memory, threads=self.plan.threads)
        stages = self.stages if self.plan.todo else []
        if stages and self.plan.kind == ONE_RANKING:
            parts = [shard.piece.parts[0] for shard in self.plan.shards]
            plan = self.plan
            shared = Shared(os.path.join(plan.directory, FOLDER), plan.workers, plan.memory, plan.threads)
            found = one_ranking.found(self._results, job, parts, self.table, shared, self.job)
            stages = [replace(stage, do=partial(one_ranking.write, found)) for stage in stages]
        for i, stage in enumerate(stages):
            todo = self._todo(stage)
            told = _Progress(self.job.words, stage, todo, (i, len(stages)))
            own = job if sends(self.engine) else replace(job, words=told)
            for one in self._results(partial(_run_one, stage.do, own, self.plan.directory), todo):
                self.manifest.add(self._line(one))
                self.fresh.append(one.counts)
                told.finished(one.number, one.counts.rows)

    def _results(self, task: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        """What a task gives for shards, as they are finished."""
        finished = self.engine.run(task, shards, self.plan.workers)
        with contextlib.closing(finished) if hasattr(finished, "close") else contextlib.nullcontext():
            yield from finished

    def _todo(self, stage: Stage) -> list[Task]:
        """The tasks of a stage that are not finished, or whose files are gone."""
        if self.plan.kind != SHUFFLED:
            return [task for task in stage.tasks if task.name not in self.plan.done]
        done, place = self.manifest.done, place_at(self.plan.directory)
        lines = [done[task.name] for task in stage.tasks if task.name in done]
        there = place.present(self.plan.directory, [file["name"] for line in lines for file in line["files"]])
        return [task for task in stage.tasks if task.name not in done or not _is_there(done[task.name], there)]

    def _task(self, i: int) -> Task:
        planned = self.plan.shards[i]
        groups = _groups_of(self.plan.directory, i) if self.compares else None
        path = os.path.join(self.plan.directory, planned.name)
        return Task(planned.name, i, path, Shard(planned.piece.parts, path, i, planned.piece.before, groups))

    def _line(self, one: _Finished) -> dict[str, Any]:
        """What the manifest says of a shard."""
        counted = {name: getattr(one.counts, name) for name in _COUNTED}
        losses = [[float(total), total.count, total.weights and float(total.weights)] for total in one.counts.totals]
        told = {"losses": losses, "groups": self.compares, "seconds": round(one.seconds, 3), "files": one.files}
        return {SHARD: one.name, **counted, **told}

    def _joined(self) -> DataSet:
        """The counts of all shards, as the manifest has them."""
        lines = [self.manifest.done[task.name] for stage in self.stages for task in stage.tasks]
        found = DataSet(shards=len(self.plan.shards), resumed=len(self.plan.done))
        for name in _COUNTED:
            setattr(found, name, sum(line[name] for line in lines))
        for losses in (line["losses"] for line in lines if line["losses"]):
            found.totals = found.totals or [Total() for _ in losses]
            for total, (added, count, weight) in zip(found.totals, losses, strict=True):
                total.sum, total.count = total.sum + added, total.count + count
                if weight is not None:
                    total.weights = total.weights or Total()
                    total.weights.sum += weight
        found.padding = next((counts.padding for counts in self.fresh if counts.padding), None)
        found.how_soft = HowSoft.joined([counts.how_soft for counts in self.fresh])
        found.without_score, found.called = self.table.without_score, self.job.operation.called
        return found

    def _say_what_is_done(self) -> None:
        if done := sum(shard.name in self.manifest.done for shard in self.plan.shards):
            rest = f"{done} of {len(self.plan.shards)} files are finished; ⟨resume=True⟩ goes on with the rest"
            self.job.say(f"{self.plan.directory}: {rest}")

    def _refuse_returned(self) -> None:
        """DataError where a group is in two shards, whose files are not right, and go."""
        left = [_groups_of(self.plan.directory, i) for i in range(len(self.plan.shards))]
        parts = [shard.piece.parts for shard in self.plan.shards]
        with place_at(self.plan.directory).copies(left, temporary_place(self.job.temp_dir)) as kept:
            others = self._results if sends(self.engine) and place_at(self.plan.directory).appends else None
            groups = twice(kept, run=others or by_threads(self.job))
            if (found := returned_group(replace(self.job, words=Silent()), parts, kept, groups)) is None:
                return
            lines = [self.manifest.done.pop(self.plan.shards[i].name) for i in sharing(kept, groups)]
        _remove(self.plan.directory, [file["name"] for line in lines for file in line["files"]])
        by = ",".join(self.table.layout.keys)
        raise DataError(
            f"{found.again}: {found.name} appears again after its ranking was closed, which began at {found.first}; "
            f'sort by "{by}" first, or write one file with ⟨sort_groups=True⟩; {len(lines)} files of such rankings '
            "were removed"
        )


class _Progress(Silent):
    """How far a data set is: its tasks tell where they run in this process, and each when it is finished."""

    def __init__(self, words: Silent, stage: Stage, todo: list[Task], place: tuple[int, int]):
        """place: which stage it is, of how many."""
        self.words, self.weights = words, stage.weights
        self.left = {task.number for task in todo}
        self.total = sum(self.weights[i] for i in self.left)
        self.bytes, self.rows, self.count = 0, 0, len(self.left)
        (self.before, self.of), self.is_last = place, place[0] + 1 == place[1]
        if self.left:
            if self.is_last:
                words.files(0, self.count)
            self._read(0.0)

    def _read(self, bytes_: float) -> None:
        self.words.read((self.before + bytes_ / max(self.total, 1)) / self.of)

    def progress(self, rows: int, total: int | None) -> None:
        """So many rows of a task are written."""
        self.words.progress(self.rows + rows, None)

    def read(self, share: float | None) -> None:
        """So much of a task is done, of which one runs at a time."""
        if share is not None and self.left:
            self._read(self.bytes + share * self.weights[min(self.left)])

    def finished(self, i: int, rows: int) -> None:
        """A task is done."""
        self.left.discard(i)
        self.bytes, self.rows = self.bytes + self.weights[i], self.rows + rows
        if self.is_last:
            self.words.files(self.count - len(self.left), self.count)
        self.words.progress(self.rows, None)
        self._read(self.bytes)
