"""Differentiable ranks, sorting, top-k, quantiles and permutations, for arrays and for files of ranking scores.

>>> from lapsum_cli import soft_rank, soft_topk
>>> soft_rank([3.0, 1.0, 2.0], alpha=0.1).round(3).tolist()
[1.0, 3.0, 2.0]
"""

import importlib
from typing import Any

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
