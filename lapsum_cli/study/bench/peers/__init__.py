"""What the same machine offers instead: hard ranks, sorts and top-k, other soft ones, and tools that rank a file.

One file a library, which is imported when it is asked for. It says

    LABEL               as tables show it
    MODULES             {a module that must be importable: what the library does with it in memory, by operation:
                        function(case, scores), of a gradient function(case, scores, upstream)}

and, where it has more to offer,

    ON_CARD             the same on a card, by operation: function(case, an array of the library)
    sees_card()         whether it can work there
    on_stream(stream)   how it takes an array there without a copy, and a function whose context has its work go to the
                        stream
    from_file_to_file(source, sink, threads)
                        for a process of its own (../filepeer.py): a long Parquet of qid, docid, score with one column
                        more, compressed by zstd; where threads is None, on as many cores as it likes
    set_threads(n)      for a library that must be told how many cores it has in memory

It imports libraries inside its functions, and nothing of lapsum but its neighbours here (and types, for the checker).
Hard ranks come best first and from 1 only where that costs nothing: peers are timed at what they are quickest at.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
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
    in_memory: dict[str, Callable]  # what it does in place of each operation
    file: ModuleType  # of this folder: what it says is described above

    @property
    def on_card(self) -> dict[str, Callable]:
        """The same, of arrays on a card."""
        return getattr(self.file, "ON_CARD", {})

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


def find_peers(given: list[str], kinds: list[str], device: str = "cpu") -> list[Peer]:
    """Those that have a part in tables of these kinds: as named, or all that are installed and, on a card, see it.

    A name that is unknown, has no part or is not installed is an OptionError.
    """
    on_card = device != "cpu"
    named = [peer for name in PEERS if not given or name in given for peer in parts_of(name)]
    shapes = [peer for peer in named if "shapes" in kinds and (peer.on_card if on_card else peer.in_memory)]
    part = [peer for peer in named if peer in shapes or ("files" in kinds and peer.path)]
    found = [peer for peer in part if peer.is_usable(on_card and peer in shapes)]
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
