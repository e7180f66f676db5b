"""What the same machine offers instead: hard ranks, sorts and top-k, other soft ones, and tools that rank a file.

A peer is given the case and what lapsum is given, on a card as an array of its own library. Hard ranks come best first
and from 1 only where that costs nothing: peers are timed at what they are quickest at.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np

from ...core.errors import OptionError


def numpy_ranks(case, scores):
    """argsort, and a scatter of the places."""
    order = np.argsort(scores, axis=-1)
    ranks = np.empty(scores.shape, np.int32)
    np.put_along_axis(ranks, order, np.arange(case.length, 0, -1, dtype=np.int32)[None], axis=-1)
    return ranks


def numpy_sort(case, scores):
    return np.sort(scores, axis=-1)[:, ::-1]


def numpy_topk(case, scores):
    """argpartition: indices, of which the last k are those of the k largest."""
    return np.argpartition(scores, case.length - math.ceil(case.k), axis=-1)


def scipy_ranks(case, scores):
    from scipy.stats import rankdata

    return rankdata(scores, axis=-1)


def torch_ranks(case, scores):
    """argsort, and a scatter of the places."""
    import torch

    order = torch.from_numpy(scores).argsort(-1)
    places = torch.arange(case.length, 0, -1, dtype=torch.int32).expand(order.shape)
    return torch.empty(order.shape, dtype=torch.int32).scatter_(-1, order, places)


def torch_sort(case, scores):
    return _tensor(scores).sort(-1, descending=True)


def torch_topk(case, scores):
    return _tensor(scores).topk(math.ceil(case.k), -1)


def _tensor(scores):
    """On a card it is one already."""
    import torch

    return torch.from_numpy(scores) if isinstance(scores, np.ndarray) else scores


def cupy_ranks(case, scores):
    import cupy

    return cupy.argsort(scores, axis=-1)


def cupy_sort(case, scores):
    import cupy

    return cupy.sort(scores, axis=-1)


def cupy_topk(case, scores):
    import cupy

    return cupy.argpartition(scores, case.length - math.ceil(case.k), axis=-1)


def dftopk(case, scores):
    """DFTopK: a sigmoid around the middle between the k-th and the next largest score. It does not sum to k."""
    import torch

    x, at = torch.from_numpy(scores), case.length - min(math.ceil(case.k), case.length - 1)
    return torch.sigmoid((x - (x.kthvalue(at + 1, -1, True)[0] + x.kthvalue(at, -1, True)[0]) / 2) / case.alpha)


def polars_ranks(case, scores):
    """rank, over a column of groups if there are several."""
    import polars as pl

    rank = pl.col("score").rank("average", descending=True)
    if case.rankings == 1:
        return pl.DataFrame({"score": scores[0]}).select(rank)
    return pl.DataFrame({"query": _queries(case), "score": scores.reshape(-1)}).select(rank.over("query"))


def duckdb_ranks(case, scores):
    """rank() over the scores of each query."""
    return _duckdb(case, scores, "select rank() over (partition by query order by score desc) from scores")


def duckdb_topk(case, scores):
    """The rows of the k largest."""
    row = "row_number() over (partition by query order by score desc)"
    return _duckdb(case, scores, f"select * from scores qualify {row} <= {math.ceil(case.k)}")


def _duckdb(case, scores, query: str):
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as connection:
        connection.register("scores", pa.table({"query": _queries(case), "score": scores.reshape(-1)}))
        return connection.sql(query).fetchnumpy()


def _queries(case) -> np.ndarray:
    return np.repeat(np.arange(case.rankings), case.length)


def torchsort_gradient(case, scores, upstream):
    """soft_rank by projection on the permutahedron (l2), forward and backward; its softness has another unit."""
    import torch
    import torchsort

    x = torch.from_numpy(scores).requires_grad_()
    ranks = torchsort.soft_rank(x, regularization="l2", regularization_strength=case.alpha)
    ranks.backward(torch.from_numpy(upstream))
    return ranks, x.grad


def fast_soft_sort_gradient(case, scores, upstream):
    """The same by Google's code, a ranking at a time."""
    from fast_soft_sort.numpy_ops import SoftRank

    soft = [SoftRank(row, direction="DESCENDING", regularization_strength=case.alpha) for row in scores]
    return [(rank.compute(), rank.vjp(v)) for rank, v in zip(soft, upstream, strict=True)]


def authors_ranks(case, scores):
    import torch
    from lapsum.rank import soft_rank

    return soft_rank(torch.from_numpy(scores), -case.alpha)


def authors_gradient(case, scores, upstream):
    import torch
    from lapsum.rank import soft_rank

    x = torch.from_numpy(scores).requires_grad_()
    ranks = soft_rank(x, torch.tensor(-case.alpha, dtype=x.dtype, requires_grad=True))
    ranks.backward(torch.from_numpy(upstream))
    return ranks, x.grad


def authors_sort(case, scores):
    import torch
    from lapsum.sort import soft_sort

    return soft_sort(torch.from_numpy(scores), -case.alpha)


def authors_topk(case, scores):
    from lapsum.topk import soft_topk

    return _authors_topk(soft_topk, case, scores)


def authors_log_topk(case, scores):
    from lapsum.topk import log_soft_topk

    return _authors_topk(log_soft_topk, case, scores)


def _authors_topk(function, case, scores):
    import torch

    x = torch.from_numpy(scores)
    k = torch.full((case.rankings, 1), case.k, dtype=x.dtype)
    return function(x, k, torch.tensor(case.alpha, dtype=x.dtype), 1, True)


@dataclass(frozen=True)
class Peer:
    """A library, or a part of one: what it does in place of each operation, in memory and on a card, and whether it is
    one of filepeers.py.
    """

    name: str  # as --peers gives it
    label: str  # as tables show it
    module: str  # must be importable
    sides: dict[str, Callable] = field(default_factory=dict)
    files: bool = False
    on_card: dict[str, Callable] = field(default_factory=dict)


PEERS = (
    Peer(
        "numpy", "numpy", "numpy", {"rank": numpy_ranks, "sort": numpy_sort, "topk": numpy_topk, "log-topk": numpy_topk}
    ),
    Peer("scipy", "scipy", "scipy", {"rank": scipy_ranks}),
    Peer(
        "torch",
        "torch",
        "torch",
        {"rank": torch_ranks, "sort": torch_sort, "topk": torch_topk, "log-topk": torch_topk},
        on_card={"rank": torch_sort, "sort": torch_sort, "topk": torch_topk, "log-topk": torch_topk},
    ),
    Peer(
        "cupy",
        "cupy",
        "cupy",
        on_card={"rank": cupy_ranks, "sort": cupy_sort, "topk": cupy_topk, "log-topk": cupy_topk},
    ),
    Peer("pyarrow", "pyarrow", "pyarrow", files=True),
    Peer("pyarrow-tuned", "pyarrow tuned", "pyarrow", files=True),
    Peer("polars", "polars", "polars", {"rank": polars_ranks}, files=True),
    Peer("duckdb", "duckdb", "duckdb", {"rank": duckdb_ranks, "topk": duckdb_topk}, files=True),
    Peer("dftopk", "DFTopK", "torch", {"topk": dftopk}),
    Peer("torchsort", "torchsort", "torchsort", {"rank-gradient": torchsort_gradient}),
    Peer("fast-soft-sort", "fast-soft-sort", "fast_soft_sort", {"rank-gradient": fast_soft_sort_gradient}),
    # The authors' package, of which most builds hold only a part.
    Peer("authors", "authors' LapSum", "lapsum.rank", {"rank": authors_ranks, "rank-gradient": authors_gradient}),
    Peer("authors", "authors' LapSum", "lapsum.sort", {"sort": authors_sort}),
    Peer("authors", "authors' LapSum", "lapsum.topk", {"topk": authors_topk, "log-topk": authors_log_topk}),
)
LABELS = {peer.name: peer.label for peer in PEERS}


def find_peers(given: list[str], kinds: list[str], device: str = "cpu") -> list[Peer]:
    """Those that have a part in tables of these kinds: as named, or all that are installed and, on a card, see it."""
    on_card = device != "cpu"
    named = [peer for peer in PEERS if not given or peer.name in given]
    shapes = [peer for peer in named if "shapes" in kinds and (peer.on_card if on_card else peer.sides)]
    part = [peer for peer in named if peer in shapes or ("files" in kinds and peer.files)]
    found = [peer for peer in part if _is_usable(peer, on_card and peer in shapes)]
    for name in given:
        if name not in LABELS:
            raise OptionError(f"--peers {name}: unknown; known are {', '.join(LABELS)}")
        if name not in [peer.name for peer in part]:
            raise OptionError(f"--peers {name}: has no part in {' and '.join(kinds)}{' on a card' if on_card else ''}")
        if name not in [peer.name for peer in found]:
            raise OptionError(f"--peers {name}: not installed here{', or sees no GPU' if on_card else ''}")
    return found


def _is_usable(peer: Peer, on_card: bool) -> bool:
    """Whether it is installed, and sees a card if it is to work there: the simulator's arrays are on none."""
    if not on_card:
        return _is_installed(peer.module)
    import numba

    if numba.config.ENABLE_CUDASIM or not _is_installed(peer.module):
        return False
    return importlib.import_module(peer.module).cuda.is_available()


def _is_installed(module: str) -> bool:
    """Whether a module can be imported: a name may be another package's, and a package half built."""
    if not find_spec(module.partition(".")[0]):
        return False
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
