"""Other processes of this machine, each of which computes a shard at a time: where Python, decoding or encoding would
hold the threads of one process up.

Workers are spawned and know nothing but what they are sent: a task once, then its shards. One that is killed is
replaced, and its shard tried again. They end with this process, however it ends, and leave nothing unfinished.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from ..core import unfinished
from ..core.errors import IOFailed

SENDS = DIVIDES = True
TRIES = 3  # of a shard whose workers are killed
_PATIENCE = 5.0  # seconds for a worker that was told to end


@contextlib.contextmanager
def opened(address: str | None, device: str) -> Iterator[Processes]:
    """Workers for the runs of one job: they end with it."""
    with contextlib.closing(Processes()) as engine:
        yield engine


class Processes:
    """Workers that have finished wait here for the next run, as one takes a second to start."""

    SENDS, DIVIDES = SENDS, DIVIDES

    def __init__(self) -> None:
        self.idle: list[_Worker] = []

    def run(self, task: Callable[[Any], Any], shards: Sequence[Any], workers: int = 1) -> Iterator[Any]:
        """What task(shard) gives, for every shard, as they are finished; an error of a shard ends all.

        A single shard is computed in this process. IOFailed where workers of a shard were killed, TRIES times.
        """
        if len(shards) <= 1:
            yield from map(task, shards)
            return
        waiting = [(shard, 1) for shard in reversed(shards)]
        pool = _Pool(pickle.dumps(task), self.idle)
        with unfinished.undone_by(pool.stop), contextlib.closing(pool):
            for _ in range(min(workers, len(shards))):
                pool.start(*waiting.pop())
            while pool.busy:
                for worker in pool.ready():
                    found = worker.result()
                    if found is None:
                        again = pool.killed(worker)
                        pool.start(*again)
                        continue
                    is_done, value = found
                    if not is_done:
                        raise value
                    yield value
                    if waiting:
                        worker.send(pool.task, *waiting.pop())
                    else:
                        pool.end(worker)

    def close(self) -> None:
        """They end."""
        while self.idle:
            self.idle.pop().end()


@contextlib.contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """Which signals this thread blocks: multiprocessing, when it starts its first process, has it take some again."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """A process, the pipe to it, and the shard of a task that it has, for the so-manieth time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        self.task = b""
        with _signals_as_they_are():
            self.process.start()
        theirs.close()

    def send(self, task: bytes, shard: Any, tries: int = 1) -> None:
        """Give it a shard; that it is dead shows when its result is asked for."""
        self.shard, self.tries = shard, tries
        with contextlib.suppress(OSError):
            self.pipe.send((None if task == self.task else task, shard))
        self.task = task

    def end(self) -> None:
        """It ends where its pipe does."""
        self.pipe.close()
        self.process.join(_PATIENCE)

    def result(self) -> tuple[bool, Any] | None:
        """Whether the shard is done, and what came of it, or the error; None where the process is dead."""
        try:
            found: tuple[bool, Any] = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return found


class _Pool:
    """The workers that compute, and those that wait."""

    def __init__(self, task: bytes, idle: list[_Worker]):
        self.task, self.idle = task, idle
        self.busy: list[_Worker] = []

    def _waiting(self) -> _Worker | None:
        """A worker that waits, and has not been killed meanwhile."""
        while self.idle:
            worker = self.idle.pop()
            if worker.process.is_alive():
                return worker
            worker.end()
        return None

    def start(self, shard: Any, tries: int) -> None:
        """A worker more, for this shard."""
        with unfinished.lock:
            worker = self._waiting() or _Worker()
            self.busy.append(worker)
            worker.send(self.task, shard, tries)

    def ready(self) -> list[_Worker]:
        """Those that have something to tell, once one has."""
        told = wait([worker.pipe for worker in self.busy])
        return [worker for worker in self.busy if worker.pipe in told]

    def killed(self, worker: _Worker) -> tuple[Any, int]:
        """The shard of a dead worker, and how often it will have been tried; IOFailed where that is too often."""
        self.end(worker, is_dead=True)
        if worker.tries >= TRIES:
            code = worker.process.exitcode or 0
            how = f"killed by signal {-code}" if code < 0 else f"ended with {code}"
            hint = (
                "lower ⟨workers⟩ or raise ⟨memory⟩ if memory ran out"
                if code < 0
                else 'a script that starts workers needs: if __name__ == "__main__"'
            )
            raise IOFailed(f"{worker.shard}: its worker was {how}, {TRIES} times; {hint}")
        return worker.shard, worker.tries + 1

    def end(self, worker: _Worker, is_dead: bool = False) -> None:
        """No more for this worker, which may wait for another run."""
        with unfinished.lock:
            self.busy.remove(worker)
            if not is_dead:
                self.idle.append(worker)
                return
        worker.end()

    def stop(self) -> None:
        """End all, now: they undo what they have not finished."""
        for worker in self.busy:
            with contextlib.suppress(OSError, ValueError):
                worker.process.terminate()
        for worker in self.busy:
            worker.process.join(_PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def close(self) -> None:
        """End all, at the end of a run or after an error of it."""
        with unfinished.lock:
            self.stop()
            self.busy = []


def _work(pipe: Connection) -> None:
    """What a worker does: shards, one after another, until there are no more; the first of a task comes with it."""
    _end_with_parent()
    run_shard: Any = None
    while True:
        try:
            task, shard = pipe.recv()
        except EOFError:
            return
        try:
            run_shard = run_shard if task is None else pickle.loads(task)
            told = (True, run_shard(shard))
        except BaseException as error:  # it is raised where the shards were sent from
            told = (False, sendable(error))
        try:
            pipe.send(told)
        except OSError:
            return


def sendable(error: BaseException) -> BaseException:
    """The error, with where it arose, or what it said where it is one that cannot be sent."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))


def _end_with_parent() -> None:
    """On SIGTERM, and when the process that started this one is gone, undo what is not finished, and end.

    An interrupt of the terminal reaches all processes; the first of them tells the others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end(code: int) -> None:
        unfinished.undo_all()
        os._exit(code)

    def with_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
        end(1)

    def when_told() -> None:
        end(128 + signal.sigwait([signal.SIGTERM]))

    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # in this thread, and so in all that it starts
        threading.Thread(target=when_told, daemon=True).start()
    else:  # Windows
        signal.signal(signal.SIGTERM, lambda number, frame: end(128 + number))
    threading.Thread(target=with_parent, daemon=True).start()
