"""A cluster of Ray, each shard a task of its own: one that runs elsewhere, or one of this machine, started for a run.

Workers know nothing but what they are sent, as those of other processes do. They find files by the paths that this
process has, from its directory. A task whose worker or node dies is sent again: what a shard has finished has been
renamed, and what it has not is a temporary file.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pickle
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .. import __version__
from ..core import unfinished
from ..core.errors import DeviceError, InputMissing, IOFailed, OptionError, OutputError
from ..formats.temporary import folder
from .processes import TRIES, sendable

SENDS = ELSEWHERE = True
LARGEST = 4 << 30  # bytes of a task, where none were asked for
_PATIENCE, _PATIENT = 5.0, 30.0  # seconds for a port to answer, and tasks to end; for a cluster to take a driver
_ENDING = 0.2  # seconds in which the system takes down a worker that has ended
_SENT = ("LAPSUM_CACHE_DIR", "ARROW_DEFAULT_MEMORY_POOL")  # what workers have of this process's environment
# Of a cluster of this machine: nothing is sent to Ray's makers, it listens to this machine alone (a switch that Ray
# has for Windows and macOS), and to who has a token that is nowhere written.
_OWN = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_OWN_STORE = 80 << 20  # bytes for what tasks give, which is little; Ray takes no less
_LONGEST = 40  # characters of a folder, since a socket within has at most 107


@contextlib.contextmanager
def opened(address: str | None, device: str) -> Iterator[Cluster]:
    """The cluster at an address, by default that to which this process is connected, or that of RAY_ADDRESS; where
    there is none, one of this machine, which starts when it has something to do.

    DeviceError where Ray is not installed, nothing answers at the address, or there is no GPU and one is asked for.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    is_local = address in (None, "", "local")
    with contextlib.ExitStack() as stack:
        if is_local:
            stack.enter_context(_environment(_OWN | {"RAY_AUTH_TOKEN": _token()}))
        try:
            import ray
        except ImportError:
            raise DeviceError("⟨engine=ray⟩ needs Ray; pip install 'lapsum-cli[ray]'") from None
        cluster = Cluster(ray, is_local and not ray.is_initialized())
        stack.enter_context(unfinished.undone_by(cluster.stop))
        stack.enter_context(contextlib.closing(cluster))
        if not is_local:
            cluster.connect(str(address))
        cluster.device = cluster.having(device)
        yield cluster


@functools.cache
def _token() -> str:
    """One for all clusters of this process, since Ray keeps the first that it sees."""
    return secrets.token_hex(32)


@contextlib.contextmanager
def _environment(names: Mapping[str, str]) -> Iterator[None]:
    """These variables, where they are not set, for a while; and SIGTERM, which Ray takes, as it was."""
    added = {name: value for name, value in names.items() if name not in os.environ}
    taken = signal.getsignal(signal.SIGTERM)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, taken)


class Cluster:
    """Workers of Ray. DIVIDES: whether they are of this machine, and started for this run; device: what computes."""

    def __init__(self, ray: Any, is_own: bool):
        self.ray, self.SENDS, self.DIVIDES, self.device = ray, True, is_own, "cpu"
        self.running: dict[Any, tuple[Any, int]] = {}  # by what will hold its result, a shard, for the so-manieth time
        self.needs: dict[str, float] = {"num_cpus": 1}
        self.opened = contextlib.ExitStack()

    def connect(self, address: str) -> None:
        """DeviceError where no cluster answers."""
        if self.ray.is_initialized():
            return
        try:
            host, _, port = address.removeprefix("ray://").rpartition(":")
            if port.isdigit():
                _knock(host.strip("[]"), int(port))
            _within(_PATIENT, partial(self._init, address=address))
        except Exception as error:  # whatever Ray may raise
            line = " ".join(str(error).split())[:200]
            raise DeviceError(f"no Ray cluster answers at {address}: {line or type(error).__name__}") from None

    def start(self, workers: int | None = None) -> None:
        """A cluster of this machine, if this is to be one, and has not been started."""
        if not self.DIVIDES or self.ray.is_initialized():
            return
        with _children_take_signals(), unfinished.lock:
            place = tempfile.gettempdir()
            made = self.opened.enter_context(folder(place if len(place) <= _LONGEST else "/tmp", "lapsum-ray-"))
            size = {"num_cpus": workers, "object_store_memory": _OWN_STORE}
            try:
                self._init(address="local", include_dashboard=False, _temp_dir=str(made / "r"), **size)
            except Exception as error:
                raise DeviceError(f"Ray does not start here: {' '.join(str(error).split())[:200]}") from None

    def _init(self, **given: Any) -> None:
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        self.opened.callback(self.ray.shutdown)
        self.ray.init(logging_level=logging.CRITICAL, log_to_driver=False, **given)

    def having(self, device: str) -> str:
        """The device of this name, of those that the cluster has; DeviceError where there is none."""
        if device not in ("cuda", "auto"):
            return device
        self.start()
        if self.ray.cluster_resources().get("GPU", 0) >= 1:
            self.needs["num_gpus"] = 1
            return "cuda"
        if device == "cuda":  # of which a task would wait forever
            raise DeviceError("⟨device=cuda⟩: the Ray cluster has no GPU; use ⟨device=cpu⟩")
        return "cpu"

    def share(self, memory: int | None, threads: int | None) -> tuple[int, int, int]:
        """How many tasks a cluster elsewhere takes at a time, with the bytes and threads of each: by default a thread,
        and the memory that the poorest node has for each, at most LARGEST.

        OptionError where no node has as much as is asked for, for which a task would wait forever.
        """
        threads = threads or 1
        have = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        gpus = self.needs.get("num_gpus", 0)
        fit = [node for node in have if node.get("CPU", 0) >= threads and node.get("GPU", 0) >= gpus]
        if not fit:
            most = int(max((node.get("CPU", 0) for node in have), default=0))
            raise OptionError(
                f"⟨threads⟩ of a task are {threads}, and no node of the Ray cluster has more than {most} CPUs"
            )
        size = memory or int(min(LARGEST, *(node["memory"] // (node["CPU"] // threads) for node in fit)))
        if size > (most := int(max(node["memory"] for node in fit))):
            raise OptionError(
                f"⟨memory⟩ of a task is {size >> 20} MiB, and no node of the Ray cluster has more than {most >> 20} MiB"
            )
        self.needs |= {"num_cpus": threads, "memory": size}
        workers = sum(int(node["GPU"]) if gpus else int(node["CPU"] // threads) for node in fit)
        return workers, size, threads

    def run(self, task: Callable[[Any], Any], shards: Sequence[Any], workers: int = 1) -> Iterator[Any]:
        """What task(shard) gives, for every shard, as they are finished; an error of a shard ends all.

        IOFailed where workers of a shard died, TRIES times; DeviceError where one has not this version of lapsum.
        """
        if not shards:
            return
        self.start(workers)
        waiting = [(shard, 1) for shard in reversed(shards)]
        send = self.ray.remote(max_retries=0, **self.needs)(_remote()).remote
        sent = {name: os.environ[name] for name in _SENT if name in os.environ}
        about = (__version__, os.getcwd(), socket.gethostname(), sent, self.ray.put(pickle.dumps(task)))
        with unfinished.undone_by(self._end_tasks), contextlib.ExitStack() as ended:
            ended.callback(self._end_tasks)
            while waiting or self.running:
                while waiting and len(self.running) < workers:
                    with unfinished.lock:
                        shard, tries = waiting.pop()
                        self.running[send(*about, pickle.dumps(shard))] = shard, tries
                for one in self._waited():
                    shard, tries = self.running.pop(one)
                    if (value := self._result(one, shard, tries)) is None:
                        waiting.append((shard, tries + 1))
                    else:
                        yield value[0]

    def _waited(self) -> list[Any]:
        try:
            found: list[Any] = self.ray.wait(list(self.running))[0]
            return found
        except BaseException:
            self._go_on()
            raise

    @staticmethod
    def _go_on() -> None:
        """Wait for ever where a signal ends the process, which is then why something failed."""
        with unfinished.lock:
            pass

    def _result(self, one: Any, shard: Any, tries: int) -> tuple[Any] | None:
        """What came of a shard; None where its worker is dead, and it may be tried again."""
        exceptions = self.ray.exceptions
        try:
            is_done, value = self.ray.get(one)
        except exceptions.RayTaskError:
            raise
        except exceptions.RayError as error:  # of a worker, a node, memory
            self._go_on()
            if tries < TRIES:
                return None
            how = "Ray ran out of memory" if isinstance(error, exceptions.OutOfMemoryError) else "its worker died"
            hint = "lower ⟨workers⟩ or raise ⟨memory⟩ if memory ran out"
            raise IOFailed(f"{shard}: {how}, {TRIES} times; {hint}") from None
        if not is_done:
            raise DeviceError(value) if isinstance(value, str) else value
        return (value,)

    def _end_tasks(self) -> None:
        """End what runs, now; workers are gone, and let go of their files, when this returns."""
        running, self.running = list(self.running), {}
        if running:
            for one in running:
                self.ray.cancel(one, force=True)
            self.ray.wait(running, num_returns=len(running), timeout=_PATIENCE)
            time.sleep(_ENDING)

    def stop(self) -> None:
        """End what runs, now, and the cluster if it is this run's."""
        self._end_tasks()
        self.opened.close()

    def close(self) -> None:
        """Likewise, at the end of a run or after an error of it; a cluster of others is left."""
        with unfinished.lock:
            self.stop()


def _knock(host: str, port: int) -> None:
    """OSError where nothing answers, or it is none that speaks HTTP/2, as Ray does: that would try for minutes."""
    preface, settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0"
    with socket.create_connection((host, port), _PATIENCE) as found:
        found.sendall(preface + settings)
        if found.recv(len(settings), socket.MSG_WAITALL)[3:4] != settings[3:4]:
            raise OSError("what answers there is not Ray's")


def _within(seconds: float, act: Callable[[], None]) -> None:
    """Act, and raise what it raises; TimeoutError where it takes longer, and goes on to nobody's use."""
    failed: list[Exception] = []

    def acting() -> None:
        try:
            act()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=acting, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"not within {seconds:.0f} s")
    for error in failed:
        raise error


_starting = threading.Event()


@contextlib.contextmanager
def _children_take_signals() -> Iterator[None]:
    """Processes that are started within have no signal blocked that this one has: Ray ends them by SIGTERM."""
    _hook()
    _starting.set()
    try:
        yield
    finally:
        _starting.clear()


@functools.cache
def _hook() -> None:
    def take_signals() -> None:
        if _starting.is_set():
            signal.pthread_sigmask(signal.SIG_SETMASK, [])

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=take_signals)


def _remote() -> Callable[..., tuple[bool, Any]]:
    """What a worker does with a shard. It is sent by value, as what is within a function is: so a node without lapsum
    can say so.
    """

    def lapsum_shard(
        version: str, directory: str, host: str, environment: dict[str, str], task: bytes, shard: bytes
    ) -> tuple[bool, Any]:
        import os
        import socket

        os.environ.update(environment)  # before what reads it is imported
        try:
            import lapsum_cli

            found = lapsum_cli.__version__
        except ImportError:
            found = "not installed"
        if found != version:
            node = socket.gethostname()
            return False, f"Ray node {node}: lapsum must be {version} there too, and is {found}"
        from lapsum_cli.engines.ray import perform

        return perform(directory, host, task, shard)

    return lapsum_shard


def perform(directory: str, host: str, task: bytes, shard: bytes) -> tuple[bool, Any]:
    """Whether a shard is done here, and what came of it, or the error: in the directory of who asked, if that is here.

    What is missing on a node may be there on the host of who asked, and so the error names the node.
    """
    with contextlib.suppress(OSError):
        os.chdir(directory)
    try:
        return True, pickle.loads(task)(pickle.loads(shard))
    except BaseException as error:  # it is raised where the shards were sent from
        node = socket.gethostname()
        if node != host and isinstance(error, InputMissing | OutputError | IOFailed):
            error.args = (f"Ray node {node}: {error.message}; it must see the same files",)
        return False, sendable(error)
