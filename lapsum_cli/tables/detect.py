"""The layout of a table, from its columns and what the user named; what was found is said."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

import pyarrow as pa

from ..core.errors import DataError, OptionError
from ..formats.foreign import hint_of_columns
from ..formats.types import holds_numbers, is_list, score_type
from .layout import Layout
from .lists import Lists
from .long import Long
from .roles import GROUP_NAMES, ITEM_NAMES, Names, is_called, matching, words
from .wide import Wide

Notice = Callable[[str], None]


def detect(schema: pa.Schema, names: Names, is_array: bool, source: str, notice: Notice) -> Layout:
    """The layout of a table with these columns; what was found rather than named is said through `notice`."""
    beside = names.beside.values()
    one_each = [] if names.columns else beside
    for name in (
        *(names.group or ()),
        *names.keep,
        *filter(None, (names.score, *names.each.values(), names.item, *one_each)),
    ):
        if name not in schema.names:
            meant = _nearest(name, schema.names)
            raise OptionError(f'{source}: no column "{name}"{meant}; the columns are {_listed(schema.names)}')
        if schema.names.count(name) > 1:
            raise OptionError(f'{source}: {schema.names.count(name)} columns are called "{name}"; rename one')
    layout = _layout(schema, names, is_array, source, notice)
    for name in beside:
        _check_beside(schema, name, layout, source)
    return layout


def find_item(schema: pa.Schema, layout: Layout, source: str, notice: Notice) -> str | None:
    """The column that says what an item is called: as named, else by the usual names; None to count the items."""
    given = layout.names.item
    if given == "":
        return None
    if isinstance(layout, Wide):
        if given:
            raise OptionError("⟨item⟩ does not go with ⟨columns⟩, whose names are those of the items")
        return "item"
    lists = isinstance(layout, Lists)
    if given:
        if lists and not is_list(schema.field(given).type):
            wanted = "lists like those of the scores"
            raise DataError(f'{source}: column "{given}" has type {schema.field(given).type}; ⟨item⟩ needs {wanted}')
        return given
    found = [f.name for f in schema if is_called(f.name, ITEM_NAMES) and is_list(f.type) == lists]
    found = [name for name in found if name not in layout.group]
    if len(found) > 1:
        raise OptionError(f"{source}: several columns could be the item: {_listed(found)}; choose with ⟨item⟩")
    if found:
        notice(f'items from "{found[0]}"')
    return found[0] if found else None


def _check_beside(schema: pa.Schema, name: str, layout: Layout, source: str) -> None:
    found = matching(name, schema.names) if isinstance(layout, Wide) else [name]
    if not found:
        raise OptionError(f"{source}: no column matches {name}; the columns are {_listed(schema.names)}")
    for column in found:
        kind = schema.field(column).type
        if not holds_numbers(kind) or is_list(kind) != isinstance(layout, Lists):
            wanted = "lists of numbers, as the scores" if isinstance(layout, Lists) else "numbers"
            raise DataError(f'{source}: column "{column}" has type {kind}; it must hold {wanted}')


def _layout(schema: pa.Schema, names: Names, is_array: bool, source: str, notice: Notice) -> Layout:
    """The layout: wide where columns are named, else of lists or long by the type of the score's column."""
    if names.columns is not None:
        return _wide(schema, names, source)
    score = names.score or ("score" if is_array else _find_score(schema, names, source))
    kind = schema.field(score).type
    if is_list(kind):
        score_type(kind.value_type, score, source)
        if names.group:
            raise OptionError(f'{source}: "{score}" holds a ranking in each row; ⟨group⟩ is for a row an item')
        if not (is_array or names.score):
            notice(f'scores from "{score}", a ranking in each row')
        return Lists(score, names)
    score_type(kind, score, source)
    group = names.group if names.group is not None else _find_group(schema, source)
    if not group and not is_array:
        notice(
            f'scores from "{score}"; no group column is named or known, so the whole table is one ranking (see ⟨group⟩)'
        )
    elif (names.group is None or names.score is None) and not is_array:
        notice(f'scores from "{score}", grouped by {_listed(group)}')
    return Long(score, group, names, notice) if names.group is None and not is_array else Long(score, group, names)


def _wide(schema: pa.Schema, names: Names, source: str) -> Wide:
    if names.group or names.score:
        raise OptionError("⟨columns⟩ makes each row a ranking; it does not go with ⟨group⟩ or ⟨score⟩")
    found = matching(names.columns, schema.names)
    if not found:
        columns = _listed(schema.names)
        raise OptionError(f"{source}: no column matches ⟨columns={names.columns}⟩; the columns are {columns}")
    for name in found:
        score_type(schema.field(name).type, name, source)
    return Wide(found, names)


def _find_score(schema: pa.Schema, names: Names, source: str) -> str:
    kinds = dict(zip(schema.names, schema.types, strict=True))
    found, are_named = names.scores(schema.names, lambda columns: {name: kinds[name] for name in columns})
    hint = hint_of_columns(schema.names)
    if found and (len(found) > 1 or not are_named):
        several = f"several columns could be the score: {_listed(found)}; choose one with ⟨score⟩"
        confirm = f"but its name does not say so; confirm with ⟨score={found[0]}⟩"
        problem = several if len(found) > 1 else f'"{found[0]}" could be the score, {confirm}'
        if hint and not are_named:
            raise DataError(f"{source}: {problem}; {hint}")
        raise OptionError(f"{source}: {problem}")
    for name in found:
        if not hint or holds_numbers(kinds[name]):
            return name
    hint = hint or "name it with ⟨score⟩"
    raise DataError(f"{source}: no score column; the columns are {_listed(schema.names)}; {hint}")


def _find_group(schema: pa.Schema, source: str) -> tuple[str, ...]:
    found = [name for name in schema.names if is_called(name, GROUP_NAMES)]
    if len(found) > 1:
        raise OptionError(f"{source}: several columns could be the group: {_listed(found)}; choose with ⟨group⟩")
    return tuple(found)


def _nearest(name: str, columns: list[str]) -> str:
    """The column that a misspelt name may mean, as a question; nothing where none is near."""
    by_words = {"".join(words(column)): column for column in columns}
    near = difflib.get_close_matches("".join(words(name)), by_words, 1)
    return f'; is "{by_words[near[0]]}" meant?' if near else ""


def _listed(names: Iterable[str]) -> str:
    quoted = [f'"{name}"' for name in names]
    return ", ".join(quoted[:20]) + (f" and {len(quoted) - 20} more" if len(quoted) > 20 else "")
