"""Differentiable ranks, sorting, top-k and permutations, for arrays and for files of ranking scores.

>>> from lapsum_cli import soft_rank, soft_topk
>>> soft_rank([3.0, 1.0, 2.0], alpha=0.1).round(3).tolist()
[1.0, 3.0, 2.0]
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "Alpha": "quantities",
    "DataError": "errors",
    "DeviceError": "errors",
    "Gradients": "api",
    "InputMissing": "errors",
    "IOFailed": "errors",
    "K": "quantities",
    "LapsumError": "errors",
    "Loss": "operators",
    "OptionError": "errors",
    "OutputError": "errors",
    "Permute": "operators",
    "Rank": "operators",
    "RankingTooLarge": "errors",
    "Rankings": "rankings",
    "Sort": "operators",
    "TopK": "operators",
    "TopKGradients": "api",
    "log_soft_topk": "api",
    "log_soft_topk_vjp": "api",
    "ndcg_loss": "losses",
    "ndcg_loss_vjp": "losses",
    "permutation_loss": "losses",
    "permutation_loss_vjp": "losses",
    "recall_loss": "losses",
    "recall_loss_vjp": "losses",
    "run_file": "job",
    "soft_permutation": "api",
    "soft_rank": "api",
    "soft_rank_vjp": "api",
    "soft_sort": "api",
    "soft_sort_vjp": "api",
    "soft_topk": "api",
    "soft_topk_vjp": "api",
    "spearman_loss": "losses",
    "spearman_loss_vjp": "losses",
    "topk_loss": "losses",
    "topk_loss_vjp": "losses",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    """Import on first use: `lapsum --help` needs neither NumPy nor Numba."""
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
