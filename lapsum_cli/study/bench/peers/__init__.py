"""What the same machine offers instead: hard ranks, sorts and top-k, other soft ones, and tools that rank a file.

One file a library, which is imported when it is asked for. It says

    LABEL               as tables show it
    MODULES             {a module that must be importable: what the library does with it in memory, by operation, to
                        rankings of one length: function(case, scores (m, n)), of a gradient function(case, scores,
                        upstream)}

and, where it has more to offer,

    UNEVEN              the same of rankings that differ in length, by operation: function(case, scores (N,)), whose
                        result (N,) is what the soft one tends to: ranks from 1 for the largest, sorted scores, members
    CALLS               what a call of it is timed for in place of one of ours, by operation: as in MODULES
    ON_CARD             the same on a card, by operation: function(case, an array of the library)
    sees_card()         whether it can work there
    on_stream(stream)   how it takes an array there without a copy, and a function whose context has its work go to the
                        stream
    from_file_to_file(source, sink, threads)
                        for a process of its own (../filepeer.py): a long Parquet of qid, docid, score with one column
                        more, compressed by zstd; where threads is None, on as many cores as it likes
    set_threads(n)      for a library that must be told how many cores it has in memory

What a file has no table for, it does not do. It imports libraries inside its functions, and nothing of lapsum but its
neighbours here (and types, for the checker). Hard ranks of a matrix come best first and from 1 only where that costs
nothing: peers are timed at what they are quickest at.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

from ....core.errors import OptionError


class Listed(NamedTuple):
    """A line of the table: a module of this package, and whether it has a part on a card, which help tells unopened."""

    module: str
    on_card: bool = False


PEERS = {  # as --peers gives them, and in the order of tables
    "numpy": Listed(".numpy"),
    "scipy": Listed(".scipy"),
    "torch": Listed(".torch", on_card=True),
    "cupy": Listed(".cupy", on_card=True),
    "pyarrow": Listed(".pyarrow"),
    "pyarrow-tuned": Listed(".pyarrow_tuned"),
    "polars": Listed(".polars"),
    "pandas": Listed(".pandas"),
    "duckdb": Listed(".duckdb"),
    "dftopk": Listed(".dftopk"),
    "torchsort": Listed(".torchsort"),
    "fast-soft-sort": Listed(".fast_soft_sort"),
    "authors": Listed(".authors"),
}


class Peer(NamedTuple):
    """A library, or a part of one that is a module of its own."""

    name: str  # of PEERS
    module: str  # must be importable
    in_memory: dict[str, Callable]  # what it does to matrices in place of each operation
    file: ModuleType  # of this folder: what it says is described above

    @property
    def on_card(self) -> dict[str, Callable]:
        """What it does to matrices on a card."""
        return getattr(self.file, "ON_CARD", {})

    def work(self, kind: str, on_card: bool = False) -> dict[str, Callable]:
        """What it does, by operation, in tables of this kind of what is in memory, here or on a card."""
        here = {name: getattr(self.file, name.upper(), {}) for name in ("uneven", "calls")}
        return ({"shapes": self.on_card} if on_card else {"shapes": self.in_memory, **here}).get(kind, {})

    def on_stream(self, stream: Any) -> tuple[Callable, Callable]:
        """How it takes an array of the card without a copy, and a context in which its work goes to the stream."""
        return self.file.on_stream(stream)

    @property
    def path(self) -> str | None:
        """The file, if it works from file to file."""
        return self.file.__file__ if hasattr(self.file, "from_file_to_file") else None

    def set_threads(self, threads: int) -> None:
        """From now on it works on so many cores, if it has to be told."""
        getattr(self.file, "set_threads", lambda threads: None)(threads)

    def is_usable(self, on_card: bool) -> bool:
        """Whether it is installed, and sees a card if it is to work there: the simulator's arrays are on none."""
        if not on_card:
            return _is_installed(self.module)
        import numba

        return not numba.config.ENABLE_CUDASIM and _is_installed(self.module) and self.file.sees_card()


def parts_of(name: str) -> list[Peer]:
    """The peers that a file of the table makes: one for each module that it needs."""
    file = _file(name)
    return [Peer(name, module, in_memory, file) for module, in_memory in file.MODULES.items()]


def label(side: str) -> str:
    """A side of a case as tables show it: a peer has a label, and any other its name."""
    return _file(side).LABEL if side in PEERS else side


def find_peers(given: list[str], kinds: Sequence[str], device: str = "cpu") -> list[Peer]:
    """Those that have a part in tables of these kinds: as named, or all that are installed and, on a card, see it.

    A name that is unknown, has no part or is not installed is an OptionError.
    """
    on_card = device != "cpu"
    named = [peer for name in PEERS if not given or name in given for peer in parts_of(name)]
    timed = [peer for peer in named if any(peer.work(kind, on_card) for kind in kinds)]
    part = [peer for peer in named if peer in timed or ("files" in kinds and peer.path)]
    found = [peer for peer in part if peer.is_usable(on_card and peer in timed)]
    for name in given:
        if name not in PEERS:
            raise OptionError(f"--peers {name}: unknown; known are {', '.join(PEERS)}")
        if name not in [peer.name for peer in part]:
            raise OptionError(f"--peers {name}: has no part in {' and '.join(kinds)}{' on a card' if on_card else ''}")
        if name not in [peer.name for peer in found]:
            raise OptionError(f"--peers {name}: not installed here{', or sees no GPU' if on_card else ''}")
    return found


def _file(name: str) -> Any:
    return importlib.import_module(PEERS[name].module, __name__)


def _is_installed(module: str) -> bool:
    """Whether a module can be imported: a name may be another package's, and a package half built."""
    if not find_spec(module.partition(".")[0]):
        return False
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
