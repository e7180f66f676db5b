"""--only-top, --ties, --order and --hard: the rows that are written, against plain Python on lists."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli import LapsumError, run_file

rows = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-1.5, 0.0, 0.5, 2.0, None, -np.inf])), max_size=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("top")


def written(folder, table, operation="topk", **options):
    pq.write_table(table, folder / "in.parquet")
    options = {"group": "qid", "score": "score", "alpha": 0.5, "force": True, "nan": "drop", **options}
    run_file(operation, folder / "in.parquet", folder / "out.parquet", **options)
    return pq.read_table(folder / "out.parquet").to_pydict()


def rows_of(drawn):
    scores = pa.array([score for _, score in drawn], pa.float64())
    return pa.table({"qid": [qid for qid, _ in drawn], "score": scores, "at": range(len(drawn))})


def best_first(rows, descending=True):
    """The rows of each ranking in the order in which it began, best first, ties as they came, nulls at the end."""
    rankings = {}
    for i, (qid, score) in enumerate(rows):
        rankings.setdefault(qid, []).append((i, score))

    def worse(item):
        score = item[1]
        if score is None or score == -np.inf:  # padding is the last in either order
            return (1 + (score is None), 0)
        return (0, -score if descending else score)

    return {qid: sorted(items, key=worse) for qid, items in rankings.items()}


@given(rows.filter(len), st.sampled_from([1, 2, 2.5, "40%", 9]), st.booleans(), st.booleans(), st.booleans())
def test_the_best_of_every_ranking(folder, drawn, k, ties, order, descending):
    drawn = sorted(drawn, key=lambda row: row[0])
    table = rows_of(drawn)
    want = []
    for items in best_first(drawn, descending).values():
        known = [score for _, score in items if score is not None and score != -np.inf]
        wanted = len(known) * float(k[:-1]) / 100 if isinstance(k, str) else k
        count = min(int(np.ceil(wanted)), len(known))
        kept = items[:count]
        if ties and kept:
            kept += [item for item in items[count : len(known)] if item[1] == kept[-1][1]]
        want += [i for i, _ in kept] if order else sorted(i for i, _ in kept)
    options = {"k": k, "only_top": True, "ties": "all" if ties else "input", "order": order, "largest": descending}
    assert written(folder, table, **options)["at"] == want


@given(rows.filter(len), st.booleans())
def test_rankings_best_first_with_their_hard_ranks(folder, drawn, descending):
    drawn = sorted(drawn, key=lambda row: row[0])
    table = rows_of(drawn)
    found = written(folder, table, "rank", order=True, hard=True, descending=descending)
    ordered = [item for items in best_first(drawn, descending).values() for item in items]
    assert found["at"] == [i for i, _ in ordered]
    want = []
    for items in best_first(drawn, descending).values():
        for _, score in items:
            same = [place for place, (_, other) in enumerate(items, 1) if other == score]
            want.append(None if score is None else sum(same) / len(same))
    assert found["hard_rank"] == want
    as_it_came = written(folder, table, "rank", hard=True, descending=descending)
    assert as_it_came["at"] == list(range(len(drawn)))
    assert [as_it_came["hard_rank"][i] for i in found["at"]] == want


@pytest.mark.parametrize("operation", ["topk", "rank"])
def test_rows_in_any_order_come_together_best_first_where_their_ranking_began(folder, operation):
    rng = np.random.default_rng(0)
    n = 2000
    drawn = list(zip(rng.integers(0, 90, n).tolist(), rng.integers(0, 50, n).astype(float).tolist(), strict=True))
    table = rows_of(drawn)
    options = {"k": 3, "only_top": True} if operation == "topk" else {}
    found = written(folder, table, operation, order=True, sort_groups=True, **options)
    lists = best_first(drawn).values()
    assert found["at"] == [i for items in lists for i, _ in (items[:3] if options else items)]
    if options:
        found = written(folder, table, operation, sort_groups=True, **options)
        assert found["at"] == sorted(i for items in lists for i, _ in items[:3])


def test_soft_results_are_those_without_the_options(folder):
    table = pa.table({"qid": [1, 1, 1, 2, 2], "score": [1.0, 3.0, 2.0, 5.0, 4.0]})
    plain = written(folder, table, k=2)
    best = written(folder, table, k=2, only_top=True, hard=True)
    assert best["soft_topk"] == [plain["soft_topk"][i] for i in (1, 2, 3, 4)]
    assert best["hard_rank"] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"k": "1,2", "only_top": True}, "only_top=True needs a single k"),
        ({"k": 1, "ties": "all"}, "ties= goes with only_top=True"),
        ({"k": 1, "only_top": True, "ties": "some"}, "ties= must be input or all"),
        ({"k": 1, "hard": True, "score": "lists", "group": None}, "need a table with a row for each item"),
        ({"k": 1, "hard": True, "column": "hard_rank"}, 'has a column "hard_rank" already'),
    ],
)
def test_what_does_not_go_together_is_refused(folder, options, problem):
    table = pa.table({"qid": [1], "score": [1.0], "lists": [[1.0, 2.0]]})
    with pytest.raises(LapsumError, match=problem):
        written(folder, table, **options)
