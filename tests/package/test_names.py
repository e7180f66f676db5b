"""One word for one thing: the names of arguments, their old ones for a release, and what modules say they have."""

import importlib
import inspect
from math import inf

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lapsum_cli
from lapsum_cli import OptionError, run_file
from lapsum_cli.operations import OPERATIONS, operation_called

X, Y = [3.0, 1.0, 2.0], [0.0, 1.0, 2.0]


def modules():
    yield lapsum_cli
    try:
        yield importlib.import_module("lapsum_cli.torch")
    except ImportError:
        return


def functions():
    for module in modules():
        for name in module.__all__:
            if inspect.isfunction(getattr(module, name)):
                yield pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")


@pytest.mark.parametrize("function", list(functions()))
def test_arguments_have_one_name_each(function):
    name = function.__name__.removesuffix("_vjp")
    if name == "run_file":
        return
    taken = set(inspect.signature(function).parameters)
    is_topk = "soft_topk" in name
    assert ("largest" in taken, "descending" in taken) == (is_topk, not is_topk)
    of_any_loss = ("loss_hvp", "loss_hessian_diagonal")
    assert ("k" in taken) == (is_topk or name in ("topk_loss", "recall_loss", "ndcg_loss", *of_any_loss))
    assert "at" not in taken


@pytest.mark.parametrize("function", list(functions()))
def test_help_opens_with_what_it_gives(function):
    first = inspect.getdoc(function).split("\n")[0]
    assert first.split()[0] in ("Soft", "Soft-sorted", "Logarithm", "The", "1", "Cross-entropy", "Gradients", "Apply")


@pytest.mark.parametrize("module", list(modules()), ids=lambda module: module.__name__)
def test_a_module_shows_what_is_public(module):
    assert dir(module) == sorted(module.__all__)
    assert all(getattr(module, name).__doc__ for name in module.__all__)


def old_at():
    for name in ("ndcg_loss", "ndcg_loss_vjp"):
        yield pytest.param(getattr(lapsum_cli, name), X, Y, id=name)
    if len(found := list(modules())) > 1:
        import torch

        yield pytest.param(found[1].ndcg_loss, torch.tensor(X), torch.tensor(Y), id="torch.ndcg_loss")


@pytest.mark.parametrize(("function", "x", "y"), list(old_at()))
def test_at_is_called_k_now(function, x, y):
    want = function(x, y, k=2)
    with pytest.warns(DeprecationWarning, match="at= is called k= now; the old name goes with") as said:
        got = function(x, y, at=2)
    assert str(got) == str(want)
    assert said[0].filename == __file__
    with pytest.raises(OptionError, match="at= is the old name of k=; pass k= alone"):
        function(x, y, at=2, k=2)
    assert str(function(x, y)) != str(want)


@pytest.mark.parametrize("name", OPERATIONS)
def test_files_take_the_direction_by_the_name_that_arrays_have(tmp_path, name):
    source, sink = tmp_path / "in.parquet", tmp_path / "out.parquet"
    infinite = [inf] * (name == "quantile")  # it takes part, or is padding: which quantile it is has no direction
    pq.write_table(pa.table({"score": X + infinite, "y": Y + infinite}), source)
    of_it = {"topk": {"k": 1}, "quantile": {"q": 0.25}, "loss": {"loss": "spearman", "target": "y"}}
    given = of_it.get(name, {})
    word = operation_called(name).direction
    assert word == ("largest" if name == "topk" else "descending")
    run_file(name, source, sink, force=True, **given, **{word: False})
    want = pq.read_table(sink)
    if name == "topk":
        with pytest.warns(DeprecationWarning, match="descending= is called largest= now") as said:
            run_file(name, source, sink, force=True, **given, descending=False)
        assert said[0].filename == __file__
    else:
        with pytest.raises(OptionError, match="has no option largest"):
            run_file(name, source, sink, force=True, **given, largest=False)
    assert pq.read_table(sink).equals(want)
    run_file(name, source, sink, force=True, **given)
    assert not pq.read_table(sink).equals(want)
