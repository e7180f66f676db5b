"""What needs a card, in four runs: python3 tests/on_a_card.py light|mended|bench|files [folder for logs] [--rehearse]

    light    210 s  what is installed; every operation once, compared with what the CPU made of it; what a launch, an
                    allocation and a copy cost; where kernels spend their time; the tests
    mended   240 s  the tests twice, to the bit; compute-sanitizer; sums of long top-k; where kernels spend their time
    bench    180 s  times beside PyTorch, CuPy and a copy; what was aimed at, and whether it is met
    files    150 s  a 4 GB NPY and a Parquet of 2 * 10^7 rows from file to file, by the card and by the CPU
    expected        no card: what the CPU makes of the operations of `light`, kept in the folder for it

Each step has its limit, and a run has one too; a step that fails or is cut off does not keep the others from running. A
step's log is in the folder, and a table comes last. What is not kept compiles first, on several cores. Run it where
lapsum's dependencies are installed; lapsum itself is taken from this checkout. With --rehearse all of it runs in
Numba's simulator, on a few scores; --steps=costs,kernels leaves out all others.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NamedTuple

TESTS = Path(__file__).parent
ROOT, STEPS, TOOLKIT = TESTS.parent, TESTS / "cardsteps", Path("/usr/local/cuda")
SHOWN = 14  # last lines of a log
LAST = 8  # seconds of a run that are kept for its last steps
IS_REHEARSED = "--rehearse" in sys.argv
PATIENCE = 4 if IS_REHEARSED else 1  # times the limits: the simulator is slow


class Step(NamedTuple):
    """A process, and the seconds that it may take; or words about why there is none. shown: lines of its log."""

    name: str
    command: list[str] | str
    limit: float = 10
    is_last: bool = False
    shown: int = SHOWN


def script(name: str, *given: str) -> list[str]:
    return [sys.executable, str(STEPS / f"{name}.py"), *given]


def tests() -> list[str]:
    """Those for cards, on as many cores as help: what they compare with compiles too. A few of them in a rehearsal."""
    command = script("tests", "-o", "addopts=-q", "-p", "no:cacheprovider", str(TESTS / "cards"))
    command += ["--ignore", str(TESTS / "cards" / "test_on_a_card.py")]
    if find_spec("xdist"):
        command += ["-n", "0" if IS_REHEARSED else str(min(12, os.cpu_count() or 1))]
    # Of a test that does not end there is a trace, by which it is known.
    return [*command, "-W", "default", "-o", "faulthandler_timeout=30", *(["-k", "empty"] if IS_REHEARSED else [])]


def compiled() -> Step:
    return Step("compiled", script("compiled"), 75)


def light(folder: Path) -> Iterator[Step]:
    expected = str(folder / "expected.pickle")
    yield Step("versions", script("versions"), 12, shown=30)
    yield Step("doctor", script("doctor"), 20)
    yield compiled()
    with compiling(folder / "light-compiling.log"):
        yield Step("operations", script("every", "compare", expected), 75, shown=30)
        yield Step("costs", script("costs"), 15)
        yield Step("kernels", script("kernels"), 40, shown=60)
        yield Step("tests", tests(), 90)


@contextlib.contextmanager
def compiling(log: Path) -> Iterator[None]:
    """The CPU's kernels, with which the tests compare, compile meanwhile, where there are cores for that."""
    if IS_REHEARSED or (os.cpu_count() or 1) < 8:
        yield
        return
    with open(log, "w") as file:
        running = start(["nice", sys.executable, "-m", "lapsum_cli", "doctor", "--warm"], file)
        try:
            yield
        finally:
            end(running)


def mended(folder: Path) -> Iterator[Step]:
    yield compiled()
    for turn in ("first", "second"):
        for file in folder.glob(f"{turn}.digests*"):
            file.unlink()
        yield Step(f"tests {turn}", ["env", f"LAPSUM_DIGESTS={folder / turn}", *tests()], 60)
    yield Step("the same", script("same", str(folder / "first"), str(folder / "second")))
    sanitizer = shutil.which("compute-sanitizer") or shutil.which(str(TOOLKIT / "bin" / "compute-sanitizer"))
    for tool, more in (("memcheck", ["--report-api-errors", "no"]), ("racecheck", [])):  # calls may fail, and be tried
        ours = [str(sanitizer), "--tool", tool, *more, "--kernel-name", "kns=lapsum_cli", "--error-exitcode", "9"]
        command = ours + script("small") if sanitizer else "compute-sanitizer is not installed here"
        yield Step(tool, command, 70)
    if IS_REHEARSED:
        yield Step("every kernel", script("small"), 50)
    yield Step("sums", script("sums"), 25)
    yield Step("kernels", script("kernels"), 25, shown=60)


def bench(folder: Path) -> Iterator[Step]:
    yield Step("versions", script("versions"), 12, shown=4)
    yield compiled()
    yield Step("times", script("times", str(folder)), 115, shown=40)
    yield Step("targets", script("targets", str(folder)), LAST, is_last=True, shown=60)


def files(folder: Path) -> Iterator[Step]:
    with in_memory(folder) as place:
        yield Step("files", script("files", str(place)), 150)


@contextlib.contextmanager
def in_memory(folder: Path) -> Iterator[Path]:
    """A folder for large files, in memory where that has room; by a link, as lapsum takes /dev for devices."""
    memory, link = Path("/dev/shm"), folder / "memory"
    is_roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 10 << 30
    with tempfile.TemporaryDirectory(dir=memory if is_roomy else None) as place:
        link.unlink(missing_ok=True)
        link.symlink_to(place)
        try:
            yield link
        finally:
            link.unlink()


def expected(folder: Path) -> Iterator[Step]:
    yield Step("expected", script("every", "save", str(folder / "expected.pickle")), 600)


RUNS = {
    "light": (light, 210),
    "mended": (mended, 240),
    "bench": (bench, 180),
    "files": (files, 150),
    "expected": (expected, 600),
}


def environment() -> dict[str, str]:
    """This checkout before anything installed; a toolkit where it usually is, for its libnvvm; the simulator."""
    given = dict(os.environ)
    if TOOLKIT.exists() and not given.get("CUDA_PATH"):
        given["CUDA_HOME"] = given.get("CUDA_HOME") or str(TOOLKIT)
    paths = [ROOT, TESTS, TESTS / "cards", *filter(None, [given.get("PYTHONPATH")])]
    given |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONUNBUFFERED": "1"}
    if IS_REHEARSED:
        given |= {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1", "LAPSUM_REHEARSED": "1"}
    return given


def carry_out(step: Step, log: Path, seconds: float) -> int | str:
    """The exit code of the step, whose words go to the log, or why it has none."""
    if isinstance(step.command, str):
        log.write_text(f"{step.command}\n")
        return "left out"
    if seconds < 2:
        log.write_text("no time was left for it\n")
        return "no time"
    with open(log, "w") as file:
        running = start(step.command, file)
        try:
            return running.wait(seconds)
        except subprocess.TimeoutExpired:
            return "cut off"
        finally:
            end(running)


def start(command: list[str], log: IO[str]) -> subprocess.Popen:
    """A process whose words go to the log, in a group of its own."""
    given = {"cwd": ROOT, "env": environment(), "stdout": log, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, start_new_session=True, **given)


def end(running: subprocess.Popen) -> None:
    """End it, and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def main(run: str, folder: Path, chosen: Collection[str] = ()) -> int:
    """0 if every step of the run, or every chosen one, went well."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    steps, limit = RUNS[run]
    deadline, outcomes = time.monotonic() + PATIENCE * limit, []
    for step in steps(folder):
        if chosen and step.name not in chosen:
            continue
        began, log = time.monotonic(), folder / f"{run}-{step.name.replace(' ', '-')}.log"
        code = carry_out(step, log, min(PATIENCE * step.limit, deadline - began - (0 if step.is_last else LAST)))
        outcomes.append(f"{step.name:<16} {code!s:>8} {time.monotonic() - began:8.1f} s")
        print(f"--- {outcomes[-1]}", flush=True)
        print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-step.shown :]), flush=True)
    print(f"{run}: step, exit code, time; logs are in {folder}", *outcomes, sep="\n", flush=True)
    return int(any(line.split()[-3] not in ("0", "out") for line in outcomes))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    named = [given for given in sys.argv[1:] if not given.startswith("--")]
    if not named or named[0] not in RUNS:
        sys.exit(__doc__)
    only = [name for given in sys.argv if given.startswith("--steps=") for name in given[8:].split(",")]
    sys.exit(main(named[0], Path(named[1] if len(named) > 1 else "results"), only))
