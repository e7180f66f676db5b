"""The parts that columns play, by name: those the user named, and the usual ones."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from typing import Any

# Names that items usually have, in lower case.
ITEM_NAMES = ("docid", "doc_id", "docno", "document", "document_id", "item", "items", "item_id", "product_id", "pid")

# Names that scores usually have, in lower case.
SCORE_NAMES = ("score", "scores", "sim", "similarity", "pred", "prediction", "predictions", "logit", "logits")


@dataclass(frozen=True)
class Names:
    """The columns that the user named; None where detection is to find them."""

    group: tuple[str, ...] | None = None
    score: str | None = None
    columns: str | None = None
    alpha: str | None = None
    k: str | None = None
    upstream: str | None = None
    target: str | None = None
    item: str | None = None

    @property
    def beside(self) -> dict[str, str]:
        """What goes with each score: a column of a table, or a file beside an array."""
        given = {"upstream": self.upstream, "target": self.target}
        return {what: name for what, name in given.items() if name is not None}

    @property
    def each(self) -> dict[str, str]:
        """The columns with a value for each ranking."""
        return {what: name for what, name in (("alpha", self.alpha), ("k", self.k)) if name is not None}

    def for_array(self) -> Names:
        """The names that arrays read together get as columns."""
        given: dict[str, Any] = {what: what for what in self.beside}
        return replace(self, **given)

    def is_number(self, column: str) -> bool:
        """Whether a text format must read this column as numbers."""
        patterns = (self.columns, self.upstream, self.target)
        named = (self.score, self.alpha, self.k, self.upstream, self.target)
        if column in named or any(matching(given, [column]) for given in patterns):
            return True
        return self.score is None and self.columns is None and column.lower() in SCORE_NAMES


def matching(patterns: str | None, columns: list[str]) -> list[str]:
    """The columns that match one of the patterns, which commas separate."""
    given = [pattern.strip() for pattern in patterns.split(",")] if patterns else []
    return [column for column in columns if any(fnmatch.fnmatchcase(column, pattern) for pattern in given)]
