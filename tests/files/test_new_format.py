"""A new format is its file and its line in the table: nothing else knows the formats by name."""

import inspect
import sys
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from lapsum_cli import OptionError, run_file, soft_rank
from lapsum_cli.cli import options
from lapsum_cli.formats import FORMATS, Format, load
from lapsum_cli.formats.sinks import Sink

X = np.array([1.0, 3.0, 2.0])


class NumbersSource:
    """A number on each line, which is a score."""

    schema = pa.schema([("score", pa.float64())])
    rows = None

    def __init__(self, asked):
        self.name, self.stream = asked.file.name, asked.file.stream

    def batches(self, size):
        yield pa.record_batch([pa.array([float(line) for line in self.stream])], schema=self.schema)


class NumbersSink(Sink):
    """The result on each line, and nothing else of the table."""

    def __init__(self, output, made):
        self.stream, (self.column,) = output.stream, made.results

    def write(self, table):
        self.stream.write("".join(f"{value!r}\n" for value in table[self.column].to_pylist()).encode())

    def close(self, metadata):
        self.stream.write(f"{metadata['operation']}\n".encode())


@pytest.fixture(autouse=True)
def numbers(monkeypatch):
    """The format `numbers`, entered in the table as any other."""
    module = ModuleType("lapsum_cli.formats.toy")
    module.read, module.write = NumbersSource, NumbersSink
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(FORMATS, "numbers", Format("toy", (".num",), (b"#!",), is_text=True))


@pytest.mark.parametrize(
    ("source", "sink", "given"),
    [
        ("in.num", "out.num", {}),
        ("in.NUM", "out.txt", {"to_format": "numbers"}),
        ("in.csv", "out.num", {"from_format": "numbers"}),
    ],
)
def test_it_is_found_by_extension_and_by_option(tmp_path, source, sink, given):
    (tmp_path / source).write_text("1\n3\n2\n")
    run_file("rank", tmp_path / source, tmp_path / sink, alpha=0.3, **given)
    *ranks, last = (tmp_path / sink).read_text().splitlines()
    assert [float(rank) for rank in ranks] == soft_rank(X, alpha=0.3).tolist()
    assert last == "rank"


def test_it_is_found_by_its_first_bytes(tmp_path):
    (tmp_path / "in").write_text("#!\n")
    with pytest.raises(ValueError, match="#!"):  # what the toy makes of them
        run_file("rank", tmp_path / "in", tmp_path / "out.csv")


def test_a_refusal_names_it(tmp_path):
    np.save(tmp_path / "x.npy", X)
    for given in ({"from_format": "toml"}, {"to_format": "toml"}):
        with pytest.raises(OptionError, match=r"toml\": unknown format; known are parquet, .*, numbers$"):
            run_file("rank", tmp_path / "x.npy", tmp_path / "out.npy", **given)
    with pytest.raises(OptionError, match=r"use one of \.parquet .* \.num, or to_format="):
        run_file("rank", tmp_path / "x.npy", tmp_path / "out.toml")
    with pytest.raises(OptionError, match="dense=True is for NPY, not numbers"):
        run_file("permute", tmp_path / "x.npy", tmp_path / "out.num", dense=True)


def test_every_format_that_stands_can_be_read_and_written_and_is_in_the_help():
    known = inspect.signature(options.shared, eval_str=True).parameters["from_format"].annotation.__metadata__[0].help
    for name in FORMATS:
        assert callable(load(name).read)
        assert callable(load(name).write)
        assert name in known or name == "numbers"
