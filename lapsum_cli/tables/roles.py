"""The parts that columns play, by name: those the user named, and the usual ones.

A name is compared by its words in lower case: query_id, query-id, "Query ID" and queryId are one.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa

from ..core.errors import OptionError
from ..formats.foreign import hint_of_columns
from ..formats.types import holds_numbers, is_list
from ..operations.weights import WEIGHT

# Names that groups usually have, without what is between their words.
GROUP_NAMES = ("qid", "queryid", "query", "topic", "topicid", "group", "groupid", "userid", "sessionid")

# Names that items usually have, likewise.
ITEM_NAMES = ("docid", "docno", "document", "documentid", "item", "items", "itemid", "productid", "pid", "corpusid")

# Names that scores usually have, likewise, and last words of their names.
SCORE_NAMES = ("score", "scores", "sim", "similarity", "pred", "prediction", "predictions", "logit", "logits")
SCORE_WORDS = (*SCORE_NAMES, "preds", "prob", "probs", "proba")

# How columns begin that are results of ours.
RESULTS = (
    *("soft_rank", "soft_sort", "soft_topk", "log_soft_topk", "soft_quantile"),
    *("grad", "threshold", "probability", "loss"),
)

_BETWEEN_WORDS = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def words(name: str) -> list[str]:
    """The words of a name, in lower case: those between signs, and those that begin with a capital."""
    return [word.lower() for word in _BETWEEN_WORDS.split(name) if word]


def is_called(name: str, usual: tuple[str, ...]) -> bool:
    """Whether a name is one of some, however its words are written."""
    return "".join(words(name)) in usual


def is_result(name: str) -> bool:
    """Whether a column is a result of an earlier run by its name: soft_topk, soft_topk_100, grad_alpha."""
    return any(name == result or name.startswith(f"{result}_") for result in RESULTS)


class Scores(NamedTuple):
    """The columns that could be the score, and whether their names say so."""

    found: list[str]
    are_named: bool


Kinds = Callable[[list[str]], Mapping[str, pa.DataType]]


@dataclass(frozen=True)
class Names:
    """The columns that the user named; None where detection is to find them."""

    group: tuple[str, ...] | None = None
    score: str | None = None
    columns: str | None = None
    alpha: str | None = None
    k: str | None = None
    weight: str | None = None
    upstream: str | None = None
    target: str | None = None
    stage: str | None = None  # the second score of a cascade
    item: str | None = None
    keep: tuple[str, ...] = ()

    @property
    def beside(self) -> dict[str, str]:
        """What goes with each score: a column of a table, or a file beside an array."""
        given = {"upstream": self.upstream, "target": self.target, "stage": self.stage}
        return {what: name for what, name in given.items() if name is not None}

    @property
    def each(self) -> dict[str, str]:
        """The columns with a value for each ranking."""
        given = {"alpha": self.alpha, "k": self.k, WEIGHT: self.weight}
        return {what: name for what, name in given.items() if name is not None}

    @property
    def named(self) -> set[str]:
        """The columns that have a part, the group aside."""
        given = (self.score, self.item, *self.beside.values(), *self.each.values())
        return {name for name in given if name is not None}

    def for_array(self) -> Names:
        """The names that arrays read together get as columns; OptionError for stages and weights, which are columns."""
        if self.stage is not None:
            raise OptionError("⟨stages⟩ are columns of a table, and an array has one score of each item")
        if self.weight is not None:
            raise OptionError("⟨weight⟩ is a column of a table, and an array has none; in Python losses take weights")
        given: dict[str, Any] = {what: what for what in self.beside}
        return replace(self, **given)

    def numbers(self, columns: list[str], kinds: Kinds) -> list[str]:
        """The columns of a text that must be read as numbers; kinds: what the first rows of some of them look like."""
        patterns = (self.columns, *self.beside.values())
        named = (self.score, *self.each.values(), *self.beside.values())
        found = [c for c in columns if c in named or any(matching(given, [c]) for given in patterns)]
        if self.score is None and self.columns is None:
            wrong = hint_of_columns(columns) is not None  # and what the values say is then not told
            scores = [name for name in self.scores(columns, kinds).found if name not in found]
            found += [name for name in scores if not wrong or holds_numbers(kinds([name])[name])]
        return found

    def scores(self, columns: list[str], kinds: Kinds) -> Scores:
        """What could be the score: numbers with a usual name, else with a last word that scores have, else whatever has
        such a name, else floats of any name. Results of ours are none, and what is named for something else is only
        where nothing else is.
        """
        columns = [name for name in columns if not is_result(name)]
        usual = [name for name in columns if is_called(name, SCORE_NAMES)]
        alike = [name for name in columns if name not in usual and (words(name) or [""])[-1] in SCORE_WORDS]
        known = kinds(usual + alike)
        for names in (usual, alike):
            if numbers := [name for name in names if holds_numbers(known[name])]:
                return Scores(self._not_others(numbers), True)
        if usual or alike:
            return Scores(self._not_others(usual or alike), True)
        known = kinds(columns)
        return Scores(self._not_others([name for name in columns if _is_float(known[name])]), False)

    def _not_others(self, names: list[str]) -> list[str]:
        others = (*self.each.values(), *self.beside.values())
        return [name for name in names if name not in others] or names


def _is_float(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind.value_type if is_list(kind) else kind)


def matching(patterns: str | None, columns: list[str]) -> list[str]:
    """The columns that match one of the patterns, which commas separate."""
    given = [pattern.strip() for pattern in patterns.split(",")] if patterns else []
    return [column for column in columns if any(fnmatch.fnmatchcase(column, pattern) for pattern in given)]
