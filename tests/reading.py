"""An input read as the command reads it, up to the columns: nothing is computed."""

import contextlib
import os
import sys
import threading

import pyarrow as pa

from lapsum_cli.flow.budget import Budget
from lapsum_cli.formats.dialect import Given
from lapsum_cli.formats.sources import Sources
from lapsum_cli.tables.detect import detect
from lapsum_cli.tables.roles import Names


def opened(*paths, format=None, names=None, memory=1 << 30, **given):
    """Inputs, closed at the end. names: the columns as the user named them; given: the options of a dialect."""
    numbers = (names or Names()).numbers
    return contextlib.closing(Sources([*map(str, paths)], format, numbers, Budget(memory), None, Given(**given)))


def read(path, format=None, names=None, memory=1 << 30, **given) -> pa.Table:
    """The rows of a file, and the rest as `opened` has it."""
    with opened(path, format=format, names=names, memory=memory, **given) as source:
        chunks = [chunk.batch for chunk in source.chunks()]
        return pa.Table.from_batches(chunks, source.schema)


def through_a_pipe(content: bytes, sizes=(1 << 16,), **how) -> pa.Table:
    """The same bytes read from standard input, into which they are written in pieces of these sizes, in turn."""
    end, begin = os.pipe()

    def feed():
        with os.fdopen(begin, "wb", buffering=0) as out, contextlib.suppress(BrokenPipeError):
            at, turn = 0, 0
            while at < len(content):
                at += out.write(content[at : at + sizes[turn % len(sizes)]])
                turn += 1

    writer = threading.Thread(target=feed)
    before = sys.stdin
    with os.fdopen(end) as sys.stdin:
        writer.start()
        try:
            return read("-", **how)
        finally:
            sys.stdin.close()
            writer.join()
            sys.stdin = before


def layout_of(path, format=None, names=None, **given):
    """The layout that is found for a file, and what is said of it."""
    said, names = [], names or Names()
    with opened(path, format=format, names=names, **given) as source:
        return detect(source.schema, names, source.is_array, source.first.name, said.append), said
