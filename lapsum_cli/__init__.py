"""Differentiable ranks, sorting, top-k, quantiles and permutations, for arrays and for files of ranking scores.

>>> from lapsum_cli import soft_rank, soft_topk
>>> soft_rank([3.0, 1.0, 2.0], alpha=0.1).round(3).tolist()
[1.0, 3.0, 2.0]
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for checkers and editors; whoever runs it imports by _HOME, on first use
    from .api.best import Entries as Entries
    from .api.best import soft_topk_indices as soft_topk_indices
    from .api.best import soft_topk_indices_vjp as soft_topk_indices_vjp
    from .api.best import soft_topk_values as soft_topk_values
    from .api.best import soft_topk_values_vjp as soft_topk_values_vjp
    from .api.files import run_file as run_file
    from .api.functions import Gradients as Gradients
    from .api.functions import TopKGradients as TopKGradients
    from .api.functions import log_soft_topk as log_soft_topk
    from .api.functions import log_soft_topk_vjp as log_soft_topk_vjp
    from .api.functions import soft_rank as soft_rank
    from .api.functions import soft_rank_vjp as soft_rank_vjp
    from .api.functions import soft_sort as soft_sort
    from .api.functions import soft_sort_vjp as soft_sort_vjp
    from .api.functions import soft_topk as soft_topk
    from .api.functions import soft_topk_vjp as soft_topk_vjp
    from .api.losses import metric as metric
    from .api.losses import ndcg_loss as ndcg_loss
    from .api.losses import ndcg_loss_vjp as ndcg_loss_vjp
    from .api.losses import permutation_loss as permutation_loss
    from .api.losses import permutation_loss_vjp as permutation_loss_vjp
    from .api.losses import recall_loss as recall_loss
    from .api.losses import recall_loss_vjp as recall_loss_vjp
    from .api.losses import spearman_loss as spearman_loss
    from .api.losses import spearman_loss_vjp as spearman_loss_vjp
    from .api.losses import topk_loss as topk_loss
    from .api.losses import topk_loss_vjp as topk_loss_vjp
    from .api.permutations import soft_permutation as soft_permutation
    from .api.permutations import soft_permutation_vjp as soft_permutation_vjp
    from .api.quantiles import QuantileGradients as QuantileGradients
    from .api.quantiles import soft_max as soft_max
    from .api.quantiles import soft_max_vjp as soft_max_vjp
    from .api.quantiles import soft_median as soft_median
    from .api.quantiles import soft_median_vjp as soft_median_vjp
    from .api.quantiles import soft_min as soft_min
    from .api.quantiles import soft_min_vjp as soft_min_vjp
    from .api.quantiles import soft_quantile as soft_quantile
    from .api.quantiles import soft_quantile_vjp as soft_quantile_vjp
    from .api.second import loss_hessian_diagonal as loss_hessian_diagonal
    from .api.second import loss_hvp as loss_hvp
    from .api.target import Target as Target
    from .core.errors import DataError as DataError
    from .core.errors import DeviceError as DeviceError
    from .core.errors import InputMissing as InputMissing
    from .core.errors import IOFailed as IOFailed
    from .core.errors import LapsumError as LapsumError
    from .core.errors import LapsumWarning as LapsumWarning
    from .core.errors import NotDifferentiable as NotDifferentiable
    from .core.errors import OptionError as OptionError
    from .core.errors import OutputError as OutputError
    from .core.errors import RankingTooLarge as RankingTooLarge
    from .core.quantities import Alpha as Alpha
    from .core.quantities import K as K
    from .core.quantities import Q as Q
    from .core.rankings import Rankings as Rankings
    from .operations.loss import Loss as Loss
    from .operations.permute import Permute as Permute
    from .operations.quantile import Quantile as Quantile
    from .operations.rank import Rank as Rank
    from .operations.sort import Sort as Sort
    from .operations.topk import TopK as TopK

__version__ = "0.1.0"

_HOME = {
    "Alpha": "core.quantities",
    "DataError": "core.errors",
    "DeviceError": "core.errors",
    "Entries": "api.best",
    "Gradients": "api.functions",
    "InputMissing": "core.errors",
    "IOFailed": "core.errors",
    "K": "core.quantities",
    "LapsumError": "core.errors",
    "LapsumWarning": "core.errors",
    "Loss": "operations.loss",
    "NotDifferentiable": "core.errors",
    "OptionError": "core.errors",
    "OutputError": "core.errors",
    "Permute": "operations.permute",
    "Q": "core.quantities",
    "Quantile": "operations.quantile",
    "QuantileGradients": "api.quantiles",
    "Rank": "operations.rank",
    "Rankings": "core.rankings",
    "RankingTooLarge": "core.errors",
    "Sort": "operations.sort",
    "Target": "api.target",
    "TopK": "operations.topk",
    "TopKGradients": "api.functions",
    "log_soft_topk": "api.functions",
    "log_soft_topk_vjp": "api.functions",
    "loss_hessian_diagonal": "api.second",
    "loss_hvp": "api.second",
    "metric": "api.losses",
    "ndcg_loss": "api.losses",
    "ndcg_loss_vjp": "api.losses",
    "permutation_loss": "api.losses",
    "permutation_loss_vjp": "api.losses",
    "recall_loss": "api.losses",
    "recall_loss_vjp": "api.losses",
    "run_file": "api.files",
    "soft_max": "api.quantiles",
    "soft_max_vjp": "api.quantiles",
    "soft_median": "api.quantiles",
    "soft_median_vjp": "api.quantiles",
    "soft_min": "api.quantiles",
    "soft_min_vjp": "api.quantiles",
    "soft_permutation": "api.permutations",
    "soft_permutation_vjp": "api.permutations",
    "soft_quantile": "api.quantiles",
    "soft_quantile_vjp": "api.quantiles",
    "soft_rank": "api.functions",
    "soft_rank_vjp": "api.functions",
    "soft_sort": "api.functions",
    "soft_sort_vjp": "api.functions",
    "soft_topk": "api.functions",
    "soft_topk_indices": "api.best",
    "soft_topk_indices_vjp": "api.best",
    "soft_topk_values": "api.best",
    "soft_topk_values_vjp": "api.best",
    "soft_topk_vjp": "api.functions",
    "spearman_loss": "api.losses",
    "spearman_loss_vjp": "api.losses",
    "topk_loss": "api.losses",
    "topk_loss_vjp": "api.losses",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import on first use: `lapsum --help` needs neither NumPy nor Numba. A loss is also found by its table."""
    home = _HOME.get(name) or ("api.losses" if name.endswith(("_loss", "_loss_vjp")) else None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{home}", __name__), name)
    if name in _HOME:
        globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
