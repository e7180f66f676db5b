"""pandas, on one core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cases import Case

LABEL = "pandas"


def ranks(case: Case, scores: Any) -> Any:
    """groupby of a column of queries, and rank."""
    import pandas as pd

    return pd.Series(scores).groupby(case.shape.queries).rank(ascending=False)


MODULES: dict[str, dict] = {"pandas": {}}
UNEVEN = {"rank": ranks}
