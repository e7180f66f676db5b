"""Differentiable ranks and top-k memberships, for arrays and for files of ranking scores.

>>> from lapsum_cli import soft_rank, soft_topk
>>> soft_rank([3.0, 1.0, 2.0], alpha=0.1).round(3).tolist()
[1.0, 3.0, 2.0]
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "Alpha": "operators",
    "DataError": "errors",
    "DeviceError": "errors",
    "InputMissing": "errors",
    "IOFailed": "errors",
    "K": "operators",
    "LapsumError": "errors",
    "OptionError": "errors",
    "OutputError": "errors",
    "Rank": "operators",
    "RankingTooLarge": "errors",
    "Rankings": "rankings",
    "TopK": "operators",
    "run_file": "api",
    "soft_rank": "api",
    "soft_topk": "api",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    """Import on first use: `lapsum --help` needs neither NumPy nor Numba."""
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
