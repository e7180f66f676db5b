"""The layout of a table, from its columns and what the user named; what was found is said."""

from __future__ import annotations

import pyarrow as pa

from .columns import SCORE_NAMES, Names, holds_numbers, is_list, score_type
from .errors import DataError, OptionError
from .layouts import Lists, Long, Wide

# Names that groups usually have, in lower case.
GROUP_NAMES = (
    "qid",
    "query_id",
    "q_id",
    "queryid",
    "query",
    "topic",
    "topic_id",
    "group",
    "group_id",
    "user_id",
    "session_id",
)


def detect(schema: pa.Schema, names: Names, is_array: bool, source: str, notice) -> Long | Lists | Wide:
    """The layout of a table with these columns; what was found rather than named is said through `notice`."""
    for name in (*(names.group or ()), *filter(None, (names.score, names.alpha, names.k))):
        if name not in schema.names:
            raise OptionError(f'{source}: no column "{name}"; the columns are {_listed(schema.names)}')
        if schema.names.count(name) > 1:
            raise OptionError(f'{source}: {schema.names.count(name)} columns are called "{name}"; rename one')
    if names.columns is not None:
        return _wide(schema, names, source)
    score = names.score or ("score" if is_array else _find_score(schema, source))
    kind = schema.field(score).type
    if is_list(kind):
        score_type(kind.value_type, score, source)
        if names.group:
            raise OptionError(f'{source}: "{score}" holds a ranking in each row; --group is for a row an item')
        if not (is_array or names.score):
            notice(f'scores from "{score}", a ranking in each row')
        return Lists(score, names)
    score_type(kind, score, source)
    group = names.group if names.group is not None else _find_group(schema, source)
    for name in group:
        if pa.types.is_nested(schema.field(name).type):
            raise OptionError(f'{source}: column "{name}" has type {schema.field(name).type}, which cannot be a group')
    if not group and not is_array:
        notice(
            f'scores from "{score}"; no group column is named or known, so the whole table is one ranking (see --group)'
        )
    elif (names.group is None or names.score is None) and not is_array:
        notice(f'scores from "{score}", grouped by {_listed(group)}')
    return Long(score, group, names)


def _wide(schema: pa.Schema, names: Names, source: str) -> Wide:
    if names.group or names.score:
        raise OptionError("--columns makes each row a ranking; it does not go with --group or --score")
    found = names.matching(schema.names)
    if not found:
        columns = _listed(schema.names)
        raise OptionError(f"{source}: no column matches --columns {names.columns}; the columns are {columns}")
    for name in found:
        score_type(schema.field(name).type, name, source)
    return Wide(found, names)


def _find_score(schema: pa.Schema, source: str) -> str:
    usual = [f.name for f in schema if f.name.lower() in SCORE_NAMES and holds_numbers(f.type)]
    floats = [f.name for f in schema if pa.types.is_floating(f.type.value_type if is_list(f.type) else f.type)]
    found = usual or floats
    if len(found) == 1:
        return found[0]
    if found:
        raise OptionError(f"{source}: several columns could be the score: {_listed(found)}; choose one with --score")
    for f in schema:
        if f.name.lower() in SCORE_NAMES:
            score_type(f.type, f.name, source)
    hint = "name it with --score"
    if any(name.replace(".", "", 1).lstrip("-").isdigit() for name in schema.names):
        hint = "the first line of a text is taken for column names: add such a line"
    raise DataError(f"{source}: no score column; the columns are {_listed(schema.names)}; {hint}")


def _find_group(schema: pa.Schema, source: str) -> tuple[str, ...]:
    found = [name for name in schema.names if name.lower() in GROUP_NAMES]
    if len(found) > 1:
        raise OptionError(f"{source}: several columns could be the group: {_listed(found)}; choose with --group")
    return tuple(found)


def _listed(names) -> str:
    names = [f'"{name}"' for name in names]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
