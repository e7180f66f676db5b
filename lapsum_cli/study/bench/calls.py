"""The benchmark of what little work costs: a call from Python, one through PyTorch with its gradient, a process.

soft_topk of 4 scores           a call in this process, beside what NumPy has
... forward and backward        the same through lapsum_cli.torch, where PyTorch is, beside its sort and topk
lapsum topk FILE                a process on a small Parquet of uneven queries, whose kernels are compiled, beside one
                                that only imports the libraries that it needs (imports.py)
..., first run ever             likewise with an empty folder for compiled kernels; once, as it takes long

Outputs are checked before a call is timed, and after a process, whose time is not shown if its file is wrong.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from ...api.functions import soft_rank, soft_topk
from ...core.errors import OptionError
from ...core.quantities import Alpha, K
from ...formats import temporary
from .cases import Case, Choice, Measured, k_of
from .check import check_output
from .clock import Times, least, process, script, take_turns
from .filecheck import check_table
from .files import command_of, writing
from .peers import Peer
from .shapes import Even, parse_shape
from .sources import make_parquet

IMPORTS = "imports"  # the side of a process that does nothing else


@dataclass(frozen=True)
class CallCase(Case):
    """A case that is so small that to call counts; unit: of alpha, as core.quantities has it; call: in words."""

    unit: str
    call: str

    def __str__(self) -> str:
        return self.call

    @property
    def softness(self) -> Alpha:
        """alpha with its unit."""
        return Alpha(self.alpha, self.unit)


class Call(NamedTuple):
    """An operation on a shape, alpha in a unit; how it is timed, what must be importable for it, and its words."""

    operation: str
    shape: str
    unit: str
    timed: Callable[[CallBench, CallCase], Measured]
    words: str
    module: str = "numpy"


@dataclass(frozen=True)
class CallBench:
    """The benchmark of all calls; cold: of first runs too."""

    choice: Choice
    cold: bool
    temp_dir: str | None
    peers: list[Peer]
    runs: int

    def __post_init__(self) -> None:
        c = self.choice
        if not self.cases():
            known = ", ".join(dict.fromkeys(call.operation for call in CALLS))
            raise OptionError(f"--calls times {known}, not {', '.join(c.operations)}")
        if c.methods != ["lapsum"]:
            raise OptionError(f"--calls times the method lapsum, not {', '.join(c.methods)}")
        if c.device != "cpu":
            raise OptionError(f"--calls times what is computed on the CPU; leave out --device {c.device}")
        if not os.path.isdir(self._directory):
            raise OptionError(f"--temp-dir {self._directory}: no such directory")

    @property
    def _directory(self) -> str:
        return self.temp_dir or tempfile.gettempdir()

    def cases(self) -> list[tuple[Call, CallCase]]:
        """The calls of the operations that were chosen, of what is installed."""
        calls = CALLS + FIRST_RUNS if self.cold else CALLS
        chosen = [call for call in calls if call.operation in self.choice.operations]
        return [(call, self._case(call)) for call in chosen if find_spec(call.module)]

    def _case(self, call: Call) -> CallCase:
        shape = parse_shape(call.shape)
        return CallCase(
            operation=call.operation,
            shape=shape,
            dtype="float32",
            scores="normal",
            alpha=self.choice.alpha,
            k=k_of(self.choice.k, shape, call.operation),
            threads=self.choice.threads,
            unit=call.unit,
            call=call.words.format(operation=call.operation, shape=shape, alpha=f"{self.choice.alpha:g}{call.unit}"),
        )

    def measure(self, notice: Callable[[str], None]) -> Iterator[Measured]:
        """The calls one after the other."""
        for call, case in self.cases():
            notice(f"{case}")
            yield call.timed(self, case)

    def in_turn(self, case: CallCase, inputs: list[np.ndarray], lapsum: Callable[[], tuple]) -> Measured:
        """A call of ours, whose results are checked first, and what peers have in its place."""
        outputs = [np.asarray(result) for result in lapsum()]
        check_call(case, inputs, outputs)
        theirs = {peer.name: peer.work("calls").get(case.operation) for peer in self.peers}
        sides = {"lapsum": least(lapsum)}
        sides |= {name: least(partial(found, case, *inputs)) for name, found in theirs.items() if found}
        return Measured(case, take_turns(sides, self.runs), sum(array.nbytes for array in (*inputs, *outputs)))

    def of_process(self, case: CallCase, is_first: bool) -> Measured:
        """`lapsum OPERATION` on a Parquet that is made for it; as the first run ever, or beside bare imports."""
        with temporary.folder(self._directory, "lapsum-bench-") as folder:
            source, sink = folder / "in.parquet", folder / "out.parquet"
            make_parquet(source, case.shape)
            command = command_of(case.operation, source, sink, str(case.softness), self.choice.k)
            command += ["--threads", str(case.threads)] if case.threads else []
            lapsum = writing(sink, command, folder / "kernels" if is_first else None)
            if is_first:
                run = lapsum()
                times = {"lapsum": Times([run.seconds], run.memory)}
            else:
                bare = process([sys.executable, "-P", script("imports")], lambda: None, dict(os.environ))
                times = take_turns({"lapsum": lapsum, IMPORTS: bare}, self.runs)
            check_table(case, source, sink, check_call)
            return Measured(case, times, source.stat().st_size + sink.stat().st_size)


def check_call(case: CallCase, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
    """Raise WrongResult unless the outputs are right, a ranking at a time: alpha may be in deviations of each."""
    offsets, flat = case.shape.offsets, [[array.reshape(-1) for array in arrays] for arrays in (inputs, outputs)]
    for r, k in enumerate(case.ks):
        given, found = ([array[offsets[r] : offsets[r + 1]].reshape(1, -1) for array in arrays] for arrays in flat)
        spread = float(given[0].std(dtype=np.float64)) if case.unit else 0.0
        alone = replace(case, shape=Even.of(1, given[0].size), alpha=case.alpha * (spread or 1.0), k=K(k))
        check_output(alone, given, found)


def from_python(bench: CallBench, case: CallCase) -> Measured:
    """The function, of one flat array."""
    inputs, alpha = case.inputs(), str(case.softness) if case.unit else case.alpha
    [[x]] = inputs
    functions: dict[str, Callable[[], Any]] = {
        "topk": lambda: (soft_topk(x, case.k.value, alpha=alpha),),
        "rank": lambda: (soft_rank(x, alpha=alpha),),
    }
    return bench.in_turn(case, inputs, functions[case.operation])


def through_torch(bench: CallBench, case: CallCase) -> Measured:
    """The function of a tensor, forward and backward, on as many threads as lapsum has elsewhere."""
    import torch

    from ...torch import soft_rank, soft_topk

    torch.set_num_threads(case.threads or 1)
    inputs = case.inputs()
    x, upstream = map(torch.from_numpy, inputs)
    functions: dict[str, Callable[[Any], Any]] = {
        "topk-gradient": lambda x: soft_topk(x, case.k.value, alpha=case.alpha),
        "rank-gradient": lambda x: soft_rank(x, alpha=case.alpha),
    }
    forward = functions[case.operation]

    def lapsum() -> tuple[Any, Any]:
        given = x.detach().requires_grad_()
        result = forward(given)
        [gradient] = torch.autograd.grad(result, given, upstream)
        return result.detach(), gradient

    return bench.in_turn(case, inputs, lapsum)


def warm_process(bench: CallBench, case: CallCase) -> Measured:
    """A process whose kernels are compiled."""
    return bench.of_process(case, is_first=False)


def first_process(bench: CallBench, case: CallCase) -> Measured:
    """A process that compiles all that it needs."""
    return bench.of_process(case, is_first=True)


SAMPLE = "300xlognormal:30"
PYTHON, GRADIENT = "soft_{operation} of 4 scores, alpha {alpha}", "soft_{0} of {{shape}} in PyTorch, with gradient"
PROCESS = "lapsum {operation} FILE"
CALLS = (
    Call("topk", "1x4", "", from_python, PYTHON),
    Call("topk", "1x4", "std", from_python, PYTHON),
    Call("rank", "1x4", "", from_python, PYTHON),
    Call("rank", "1x4", "std", from_python, PYTHON),
    Call("topk-gradient", "8x16", "", through_torch, GRADIENT.format("topk"), "torch"),
    Call("rank-gradient", "8x16", "", through_torch, GRADIENT.format("rank"), "torch"),
    *(Call(operation, SAMPLE, "std", warm_process, PROCESS) for operation in ("topk", "rank", "sort")),
)
FIRST_RUNS = tuple(
    Call(operation, SAMPLE, "std", first_process, f"{PROCESS}, first run ever")
    for operation in ("rank", "topk", "sort")
)
