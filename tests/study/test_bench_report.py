"""What `lapsum bench` makes of its times: a page that needs nothing else, and blocks that a file keeps."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import refusal, run

import lapsum_cli
from lapsum_cli.cli.pages import path_of
from lapsum_cli.core.quantities import K
from lapsum_cli.study.bench.cases import Case, Choice, Measured
from lapsum_cli.study.bench.clock import Times
from lapsum_cli.study.bench.files import FileCase, MeasuredFile
from lapsum_cli.study.bench.run import report_of
from lapsum_cli.study.bench.shapes import Even
from lapsum_cli.study.bench.tables import TABLES
from lapsum_cli.study.report import charts
from lapsum_cli.study.report.rounding import ratio, round_to

VOID = {"meta", "line", "rect", "polyline"}


class Page(HTMLParser):
    """Every tag that is opened is closed; what it refers to and what it says is kept."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def measured():
    """One of everything, with times made up: lapsum takes 2 s, a peer 8 s."""
    ours, theirs = Times([2.0, 1.0, 3.0], 50_000_000), Times([8.0, 8.0, 8.0], None)
    shapes = [
        Measured(
            Case(operation, Even.of(7, 100), dtype, "normal", 0.1, K(10), 1),
            {"lapsum": ours, "memcpy": theirs, "numpy": theirs},
            10**9,
        )
        for operation in ("rank", "topk")
        for dtype in ("float32", "float64")
    ]
    growth = [
        Measured(Case("rank", shape, "float32", "normal", 0.1, K(10), 1), {"lapsum": ours}, 10**9)
        for shape in (Even.of(1 << 20 - i, 1 << i) for i in range(10, 13))
    ]
    file = FileCase("topk", Even.of(7, 100), "float32", "normal", 0.1, K(10), None, "long Parquet")
    files = [MeasuredFile(file, {"lapsum": ours, "duckdb": theirs}, 10**9, ["duckdb"])]
    return {"shapes": shapes, "growth": growth, "files": files}


def report(found, device="cpu"):
    choice = Choice(["rank", "topk"], ["7x100"], ["float32"], ["normal"], 0.1, "10", None, device)
    return report_of("a <machine>", found, choice, 3)


def measured_on_card():
    """The same, with the sides that there are on a card, and one that is not."""
    ours, theirs = Times([2.0, 1.0, 3.0], None), Times([8.0, 8.0, 8.0], None)
    shapes, growth, files = measured().values()
    sides = {"lapsum": ours, "copy": theirs, "to card": theirs, "from card": theirs, "torch": theirs}
    on_card = [replace(m, sides=sides, remarks=["it has no graph"]) for m in shapes[:1]]
    with_cpu = [replace(m, sides={"lapsum": m.lapsum, "cpu": theirs, "duckdb": theirs}) for m in files]
    return {"shapes": on_card, "growth": growth, "files": with_cpu}


def test_the_page_needs_nothing_else_and_holds_every_case():
    text = report(measured()).html()
    page = Page(text)
    assert page.references == []
    assert not re.search(r"https?:|url\(|@import|<script", text)
    assert "a <machine>" in page.words
    for title in ("rank 7x100 float32", "topk 7x100 float64", "long Parquet 7x100: wall time"):
        assert title in page.words, title
    assert sum(words == "0.25" for words in page.words) == 12  # of four cases: two bars, and a cell without its time
    assert "2.00 s" in page.words
    assert "50 MB" in page.words


def test_every_chart_is_an_image_with_words():
    drawn = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", report(measured()).html(), re.S)]
    assert len(drawn) == 4 + 1 + 2
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in drawn)
    assert "numpy 0.25" in drawn[0].get("aria-label")


def test_a_bar_left_of_the_line_is_faster():
    drawn = ElementTree.fromstring(
        charts.ratio_bars("t", [charts.Bar("a", 0.1, "", "fast"), charts.Bar("b", 10.0, "", "slow")], (0.01, 100.0))
    )
    fast, slow = ([float(rect.get(side)) for side in ("x", "width")] for rect in drawn.iter("rect"))
    [base] = [float(line.get("x1")) for line in drawn.iter("line") if line.get("class") == "base"]
    assert fast[0] + fast[1] == pytest.approx(base)
    assert slow[0] == pytest.approx(base)
    assert fast[1] == pytest.approx(slow[1])


def test_what_grows_with_n_is_level_and_names_stand_apart():
    drawn = ElementTree.fromstring(charts.growth_lines("t", {"a": {8: 3.0, 16: 3.0}, "b": {8: 3.1, 16: 3.1}}))
    for line in drawn.iter("polyline"):
        start, end = line.get("points").split()
        assert start.split(",")[1] == end.split(",")[1]
    names = [float(text.get("y")) for text in drawn.iter("text") if text.get("class") == "name"]
    assert abs(names[0] - names[1]) >= 12


def test_tables_say_what_was_measured():
    shapes, growth, files = (section.table.markdown() for section in report(measured()).sections)
    assert re.search(
        r"\| rank +\| 7x100 +\| float64 +\| +2000 \| +1000–3000 \| .* \| +0.25 \| +0.25 \(8000\) \|", shapes
    )
    assert re.search(r"\| 1024 \| 1907 \|", growth)
    assert re.search(r"\| long Parquet \| .* \| +2.00 \| +1.00–3.00 \| .* \| +50.0 \| +0.25 \(8.00\) \|", files)
    assert "do not keep their order: duckdb" in files


def test_methods_have_a_column_if_there_are_several():
    one, *_ = measured()["shapes"]
    other = replace(one, case=replace(one.case, method="sparse"))
    choice = Choice(["rank"], ["7x100"], ["float32"], ["normal"], 0.1, "10", None)
    assert TABLES["shapes"]([one], choice, 3).columns[2] == "lapsum ms"
    table = TABLES["shapes"]([one, other], choice, 3)
    assert table.columns[2] == "method"
    assert [row[2] for row in table.rows] == ["lapsum", "sparse"]


def test_tables_of_a_card_stand_beside_those_of_the_cpu():
    found = report(measured_on_card(), "cuda")
    shapes, growth, files = found.blocks().values()
    assert list(found.blocks()) == ["cuda-shapes", "cuda-growth", "cuda-files"]
    assert "threads" not in shapes + growth
    assert "alpha 0.1, k 10, on the card; medians of 3 runs. Scores are on the card before" in shapes
    assert "it has no graph." in shapes
    head, _, row = shapes.splitlines()[-3:]
    assert " ".join(head.split()).endswith("| × copy | × to card (ms) | × from card (ms) | × torch (ms) |")
    assert " ".join(row.split()).endswith("| 0.25 | 0.25 (8000) | 0.25 (8000) | 0.25 (8000) |")
    assert "| × cpu (s, MB) | × duckdb (s, MB) |" in " ".join(files.split())


def test_the_page_of_a_card_tells_lapsum_from_the_others():
    page = Page(report(measured_on_card(), "cuda").html())
    for words in ("On the card", "Growth with the length of a ranking, on the card", "lapsum topk", "cpu topk"):
        assert words in page.words, words
    drawn = ElementTree.fromstring(re.search(r"<svg.*?</svg>", report(measured_on_card(), "cuda").html(), re.S)[0])
    assert [bar.get("class") for bar in drawn.iter("rect")] == ["theirs", "theirs", "theirs", "fast"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0451, "0.045"), (0.996, "1.00"), (1.04, "1.04"), (20.65, "20.6"), (154.2, "154"), (12345, "12345")],
)
def test_ratios_keep_the_digits_that_mean_something(value, text):
    assert ratio(value) == text
    assert round_to(0.0, 3) == "0.00"


@pytest.mark.slow
def test_recording_one_kind_replaces_its_block_and_nothing_else(tmp_path):
    text = (
        "before\r\n<!-- bench:shapes:begin -->\nold shapes\n<!-- bench:shapes:end -->\nbetween\n"
        "<!-- bench:growth:begin -->\nold growth\n<!-- bench:growth:end -->\nafter"
    )
    kept = tmp_path / "KEPT.md"
    kept.write_bytes(text.encode())
    for _ in range(2):  # what it wrote itself it replaces too
        done = run("bench", "rank", "--shape", "3x20", "--runs", "1", "--peers", "numpy", "--record", kept)
        assert done.returncode == 0, done.stderr
        block = done.stdout.decode().rstrip("\n")
        assert "| rank " in block
        assert kept.read_bytes().decode() == text.replace("old shapes", block)


def test_a_page_by_its_name_is_the_file_that_help_shows():
    assert Path(path_of("speed")) == Path(lapsum_cli.__file__).parent / "pages/speed.md"
    assert path_of("./speed") == "./speed"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, 66),
        ("no markers", 2),
        ("<!-- bench:shapes:end --><!-- bench:shapes:begin -->", 2),
        ("<!-- bench:growth:begin -->\n<!-- bench:growth:end -->", 2),
    ],
)
@pytest.mark.slow
def test_a_file_without_the_markers_is_refused_before_anything_runs(tmp_path, text, code):
    kept = tmp_path / "KEPT.md"
    if text is not None:
        kept.write_text(text)
    done = run("bench", "--record", kept)  # in full it would take minutes
    assert done.returncode == code
    assert "--record" in refusal(done.stderr)
    assert not kept.exists() or kept.read_text() == text


@pytest.mark.slow
def test_the_page_is_written_whole_and_replaced_only_by_force(tmp_path):
    page = tmp_path / "page.html"
    given = ("bench", "rank", "--shape", "3x20", "--runs", "1", "--peers", "numpy", "-o", page)
    assert run(*given).returncode == 0
    assert Page(page.read_text()).references == []
    done = run(*given)
    assert done.returncode == 73
    assert "--force" in refusal(done.stderr)
    page.write_text("old")
    assert run(*given, "--force").returncode == 0
    assert "rank 3x20" in page.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("width", [80, 132])
def test_a_terminal_gets_tables_that_fit_it_with_every_number(width):
    made = report(measured())
    text = made.text(width)
    assert all(len(line) <= width for line in text.splitlines()), text
    for section in made.sections:
        for cells in (section.table.columns, *section.table.rows):
            assert all(cell in text for cell in cells)
    assert "|" not in text
