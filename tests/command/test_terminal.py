"""A terminal of 80 columns: progress is gone in time, numbers are whole, words are said once."""

import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from terminal import on_a_terminal

from lapsum_cli import run_file
from lapsum_cli.cli.preview import BESIDE, Column, fitting
from lapsum_cli.stream import Silent

ROWS = 3000
UUID = "0193a0f2-7c1e-7b6a-9d3e-2f4b5c6d7e8f"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminal")
    rng = np.random.default_rng(0)
    with open(folder / "in.csv", "w") as out:
        out.write("session_id,product,title,price,score\n")
        for i in range(ROWS):
            out.write(f"{UUID},SKU-{i:09},a title of several words {i},{i}.99,{rng.normal() * 1e-6}\n")
    return folder


def plain(screen: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen)


def test_the_bar_is_gone_before_the_table_whose_numbers_are_whole(folder):
    screen = on_a_terminal("rank", "in.csv", "--score", "score", "--group", "session_id", "--alpha", "1e-9", cwd=folder)
    run_file("rank", folder / "in.csv", folder / "out.parquet", score="score", group="session_id", alpha=1e-9)
    bar, _, table = screen.partition("┏")
    assert "%" in bar
    assert bar.endswith("\x1b[2K")  # a line that is wiped
    assert "%" not in plain(table)
    assert len({*map(len, re.findall("[┃│].*[┃│]", plain(table)))}) == 1
    assert all(len(line) <= 80 for line in plain(table).splitlines() if not line.startswith("lapsum: "))
    made = pq.read_table(folder / "out.parquet").slice(0, 10)
    for line, row in zip(re.findall("│.*│", plain(table)), made.to_pylist(), strict=True):
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        assert cells[-3:] == [row["price"], f"{row['score']:.6g}", f"{row['soft_rank']:.6g}"]
        texts = [row[name] for name in ("session_id", "product", "title")]
        assert all(text.startswith(cell.removesuffix("…")) for cell, text in zip(cells[:3], texts, strict=True))


def test_rows_that_are_printed_as_they_come_have_no_bar_among_them(folder):
    screen = on_a_terminal("rank", "in.csv", "--score", "score", "--to", "csv", cwd=folder)
    assert "\x1b" not in screen
    assert len([line for line in screen.splitlines() if line.startswith((UUID, "session_id"))]) == ROWS + 1


def test_a_data_set_is_told_in_files_and_at_a_rate(folder, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / f"in/{name}.csv").write_text((folder / "in.csv").read_text().replace(UUID, name))
    given = ("--score", "score", "--group", "session_id", "-o", "out/")
    screen = on_a_terminal("rank", *(f"in/{name}.csv" for name in "abc"), *given, cwd=tmp_path)
    assert re.search(r"\d of 3 files, [\d,]+ rows, [\d,]+ a second", plain(screen))


def test_passes_over_a_ranking_are_told_with_their_rows_and_rate(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=12_000_000).astype("f4"))
    screen = on_a_terminal("topk", "x.npy", "--k", "10", "-o", "out.npy", "--memory", "240MiB", cwd=tmp_path)
    assert re.search(r"pass [2-9]: [\d,]+ of 12,000,000 rows, [\d,]+ a", plain(screen))


def columns(*widths, results=1):
    kinds = [("n", True), ("t", False)]
    for i, width in enumerate(widths):
        name, is_number = kinds[i % 2]
        yield Column(f"{name}{i}", ["9" * width, "1"], is_number, i >= len(widths) - results)


@pytest.mark.parametrize("widths", [(3, 5, 7), (30, 36, 30), (12,) * 12, (19, 36, 36, 36, 19, 12), (100, 100, 12)])
@pytest.mark.parametrize("room", [20, 40, 80, 200])
@pytest.mark.parametrize("results", [1, 2])
def test_numbers_are_shown_whole_or_not_at_all(widths, room, results):
    given = list(columns(*widths, results=results))
    shown = fitting(given, room)
    assert shown == [column for column in given if column in shown]
    assert any(column.is_result for column in shown)
    assert all(column.width >= len(column.cells[0]) for column in shown if column.is_number)
    if len(shown) > 1:
        assert sum(column.width + BESIDE for column in shown) + 1 <= room
    if sum(column.whole + BESIDE for column in given) + 1 <= room:
        assert [column.width for column in shown] == [column.whole for column in given]


class Heard(Silent):
    """The parts of the input of which rows were done."""

    def __init__(self):
        self.parts = []

    def read(self, share):
        self.parts.append(share)


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "parquet", "arrow", "arrows", "npy"])
@pytest.mark.parametrize("several", [False, True])
def test_how_much_is_done_is_known_from_the_start(tmp_path, format, several):
    from tables import put

    table = pa.table({"qid": np.arange(4000) // 10, "score": np.random.default_rng(0).normal(size=4000)})
    sources = [tmp_path / f"{i}.{format}" for i in range(1 + 2 * several)]
    for i, source in enumerate(sources):
        if format == "npy":
            np.save(source, table["score"].to_numpy().reshape(-1, 10))
        else:
            put(table.set_column(0, "qid", pa.array((i + 1) * 1000 + np.arange(4000) // 10)), source, rows=1000)
    of_tables = [("topk", {"k": 1, "minimum": 0.9}), ("rank", {"sort_groups": True})]
    for operation, options in (("rank", {}), *(of_tables if format != "npy" else [])):
        heard = Heard()
        run_file(operation, sources, tmp_path / f"out.{format}", force=True, memory="256MiB", words=heard, **options)
        assert heard.parts[0] == 0
        assert heard.parts[-1] == 1
        assert heard.parts == sorted(heard.parts)


@pytest.mark.slow
def test_compiling_is_said_once_and_only_where_somebody_sees_it(tmp_path):
    program = "from lapsum_cli import soft_rank; soft_rank([1.0, 2.0]); soft_rank([1.0, 3.0])"
    screen = on_a_terminal("-c", program, command=[sys.executable], env={"LAPSUM_CACHE_DIR": str(tmp_path)})
    assert screen.count("compiling the float64 kernels of rank") == screen.count("\n") == 1


def test_nothing_is_said_where_nobody_sees_it(monkeypatch, tmp_path, capfd):
    from lapsum_cli.operations.warm import on_terminal

    on_terminal("compiling")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", None)
    on_terminal("compiling")
