"""Files that are not what they say: each is refused in a line, none crashes the process or gives foreign memory."""

import io
import itertools
import json
import re
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mutations import outcomes

from lapsum_cli.formats.footer import contradiction

SCORES = np.linspace(-1, 1, 6)


def arrow(folder, name, column, format="arrow"):
    batch = pa.record_batch({"score": SCORES, "extra": column})
    path = folder / f"{name}.{format}"
    with (pa.ipc.new_file if format == "arrow" else pa.ipc.new_stream)(path, batch.schema) as out:
        out.write_batch(batch)
    return path


def with_buffers(kind, *arrays, children=()):
    buffers = [None, *(pa.py_buffer(array.tobytes() if hasattr(array, "tobytes") else array) for array in arrays)]
    return pa.Array.from_buffers(kind, 6, buffers, children=list(children))


def broken_columns():
    """Columns whose offsets, indices or text point where nothing of theirs is."""
    offsets = np.array([0, 1, 1 << 20, 1 << 30, 1 << 30, 1 << 30, 6], np.int32)
    back = np.array([0, 4, 2, 4, 5, 6, 6], np.int32)
    values = pa.array(np.arange(6.0))
    yield "text-beyond", with_buffers(pa.string(), offsets, b"abcdef")
    yield "text-back", with_buffers(pa.string(), back, b"abcdef")
    yield "text-no-utf8", with_buffers(pa.string(), np.arange(7, dtype=np.int32), b"ab\xff\xfeef")
    yield "list-beyond", with_buffers(pa.list_(pa.float64()), offsets, children=[values])
    yield "list-back", with_buffers(pa.list_(pa.float64()), back, children=[values])
    for name, index in (("dictionary-beyond", 1 << 20), ("dictionary-negative", -5)):
        indices = pa.array(np.array([0, 1, index, 0, 0, 1], np.int32))
        yield name, pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]), safe=False)


def contradictory_footers(folder):
    """Parquet files whose schema was changed after sizes were counted: PyArrow 26 terminates the process that asks."""
    path = folder / "as-written.parquet"
    lists = [[1.0], None, [], [2.0, None], [3.0], [4.0]]
    pq.write_table(pa.table({"score": SCORES, "text": ["a"] * 6, "x": lists}), path, compression=None)
    data = path.read_bytes()
    assert contradiction(io.BytesIO(data)) is None
    element = b"\x15\x0a\x25\x02\x18\x07element"  # type: double, repetition: optional, name
    for name, changed in (("required", b"\x15\x0a\x25\x00"), ("repeated", b"\x15\x0a\x25\x04")):
        assert data.count(element) == 1
        yield name, data.replace(element, changed + element[4:])


def header(shape, descr="'<f4'"):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def broken_arrays():
    """Headers of NPY, and what the refusal says of each."""
    for shape in ("(-3,)", "(-2, -3)", "(2, -3)", "(True,)"):
        yield shape, header(shape) + b"\0" * 64, "there is no array of shape"
    yield "rows-of-nothing", header("(3000000000, 0)"), "rows without a score"
    yield "a-row-without-end", header("(1, 3000000000)"), "is truncated"
    yield "huge", header("(1152921504606846976, 4)"), "is truncated"
    yield "huge-row", header("(2, 2147483647)"), "is truncated"
    whole = header("(4,)") + b"\0" * 16
    for cut in (7, 9, 20, 60, 100):
        yield f"cut-at-{cut}", whole[:cut], "not an NPY file, or a truncated one"
    for name, wrong in (("open", whole.replace(b")", b"(")), ("text", whole.replace(b"{'descr'", b"{'''escr"))):
        yield name, wrong, "not an NPY file"


BOTH_INTEGERS = '{"score": 0.5, "id": 1.5}\n{"score": 1, "id": 9007199254740993}\n'
LINES = {
    "deep": ('{"score": 1, "x": ' + "[" * 800 + "]" * 800 + "}\n", "line 1: is nested more than 100 deep"),
    "deeper": ('{"score": 1}\n' + '{"x":' * 100_000 + "1" + "}" * 100_000 + "\n", "line 2: is nested more than 100"),
    "branching": ('{"score": 1, "x": ' + "[[]," * 500 + "1" + "]" * 500 + "}\n", "line 1: is nested more than 100"),
    "not-utf8": (b'{"score": 1, "x": "a"}\n{"score": 1, "x": "\xff"}\n', "line 2: is not UTF-8"),
    "name-not-utf8": (b'{"score": 1, "\xff": "a"}\n', "line 1: is not UTF-8"),
    "rounded-id": (BOTH_INTEGERS, r'line 2: column "id" holds integers beyond 2\^53.*9007199254740993'),
    "rounded-score": ('{"score": 9007199254740993}\n', 'line 1: column "score" .*9007199254740993'),
    "rounded-list": ('{"score": 1, "x": [0.5, 9007199254740993]}\n', 'column "x" .*9007199254740993'),
    "rounded-member": ('{"score": 1, "x": {"y": [0.5, -9007199254740993]}}\n', 'column "x" .*-9007199254740993'),
    "too-large": ('{"score": 1e400}\n', "too big to be stored in double"),
}
CSV = {
    "rounded": ("score\n1\n9007199254740993\n", "row 2.*9007199254740993, which no float64 holds"),
    "infinite": ("score\n1\n2\n1e400\n", "row 3.*1e400, which no float64 holds"),
    "minus": ("score\n-1e999\n", "row 1.*-1e999, which no float64 holds"),
    "no-number": ("score\n1\n0x10\n", 'column "score": CSV conversion error to double: invalid value .*0x10'),
    "not-utf8": (b"score,x\n1,\xff\n", "(?i)utf-?8"),
    "name-not-utf8": (b"score,\xff\n1,2\n", "(?i)utf-?8"),
    "name-with-nul": ("score,te\0xt\n1,2\n", "name of a column holds a NUL"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Every broken file, and what the refusal of it must say."""
    folder, wanted = tmp_path_factory.mktemp("broken"), {}
    for (name, column), format in itertools.product(broken_columns(), ("arrow", "arrows")):
        wanted[arrow(folder, name, column, format)] = "damaged"
    whole = arrow(folder, "whole", pa.array(["text"] * 6))
    for cut in (30, 300, 600, whole.stat().st_size - 20):
        (folder / f"cut-{cut}.arrow").write_bytes(whole.read_bytes()[:cut])
        wanted[folder / f"cut-{cut}.arrow"] = "truncated"
    for name, data, problem in broken_arrays():
        (folder / f"{name}.npy").write_bytes(data)
        wanted[folder / f"{name}.npy"] = problem
    for suffix, cases in (("jsonl", LINES), ("csv", CSV)):
        for name, (text, problem) in cases.items():
            (folder / f"{name}.{suffix}").write_bytes(text if isinstance(text, bytes) else text.encode())
            wanted[folder / f"{name}.{suffix}"] = problem
    path = folder / "indices.parquet"
    pq.write_table(pa.table({"score": np.arange(3000.0), "x": ["abcd", "efgh", "ijkl"] * 1000}), path, compression=None)
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(0).column(1).data_page_offset
    data[start + 200 : start + 230] = b"\xff" * 30  # indices of 2 bits: of three words, the fourth
    path.write_bytes(data)
    wanted[path] = "damaged|truncated"
    for name, data in contradictory_footers(folder):
        (folder / f"{name}.parquet").write_bytes(data)
        wanted[folder / f"{name}.parquet"] = "footer is damaged: the statistics of sizes of column 2 in row group 0"
    return wanted


@pytest.mark.faults
def test_what_is_broken_is_refused_in_a_line_and_nothing_dies_of_it(broken):
    found = outcomes(broken)
    assert found.keys() == broken.keys()
    wrong = {
        path.name: found[path]
        for path, problem in broken.items()
        if found[path][0] != "refused" or not re.search(problem, found[path][1])
    }
    assert not wrong, json.dumps(wrong, indent=1)


def test_large_numbers_that_a_float_holds_are_taken(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"score": 9007199254740992}\n{"score": 1e300}\n{"score": 0.5}\n')
    (tmp_path / "a.csv").write_text("score\n9007199254740992\n1e300\n-inf\n 7\n")
    assert {kind for kind, _ in outcomes(tmp_path.iterdir()).values()} == {"done"}
