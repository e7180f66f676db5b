"""The command as a function: an operation by name, with the options as they are typed, on files."""

from __future__ import annotations

from dataclasses import fields, replace

from ..core.errors import OptionError
from ..core.quantities import Alpha, K
from ..operations import menu as operators
from ..tables.roles import Names


def run_file(
    operation,
    source,
    sink=None,
    *,
    alpha=None,
    alpha_column=None,
    k=None,
    k_column=None,
    group=None,
    score=None,
    columns=None,
    upstream=None,
    target=None,
    item=None,
    reduction="none",
    nan="error",
    from_format=None,
    to_format=None,
    force=False,
    memory=None,
    threads=None,
    device="cpu",
    words=None,
    **options,
):
    """Apply an operation to a file of any size, as the command does; returns what was done (rows, rankings, scores).

    operation  "rank", "sort", "topk", "permute", or "loss" with loss="spearman", "topk", "recall", "ndcg",
               "permutation"
    source     a path, a glob, a directory of Parquet, "-" for standard input, or a list of these
    sink       a path; None writes to standard output
    alpha, k   as the command takes them, such as 0.1, "0.1std", 10, "10%", "10,100"; or the columns that hold them
    group      a column name or several; score a column name; columns a pattern of score columns (wide tables)
    upstream   the column of a gradient with respect to the result, for that with respect to the scores; target that of
               a loss; for NPY the file of an array of the same shape
    item       the column that says what an item of a permutation is called; "" for its number
    reduction  of losses: "none", "sum" or "mean"
    memory     a size such as "256MiB"; by default a quarter of the limit in force, at most 4 GiB
    device     "cpu", "cuda" for an NVIDIA GPU, or "auto" for a GPU where one works
    words      who is told what was detected and how far it is: an object such as stream.Silent
    options    those of the operation, as its class in operators.py has them
    Raises a LapsumError for whatever the user can fix.
    """
    from ..stream import Silent, run

    group = (group,) if isinstance(group, str) else group and tuple(group)
    beside = {"upstream": upstream, "target": target}
    beside = {what: None if name is None else str(name) for what, name in beside.items()}
    names = Names(group, score, columns, alpha_column, k_column, item=item, **beside)
    sources = [str(path) for path in source] if isinstance(source, list | tuple) else [str(source)]
    given = {
        "names": names,
        "nan": nan,
        "from_format": from_format,
        "force": force,
        "memory": memory,
        "threads": threads,
        "device": device,
        "words": words or Silent(),
    }
    operators.check_reduction(reduction)
    made = make_operation(operation, alpha, k, names, **options)
    if reduction == "mean" and getattr(made, "loss", None) and made.gradient:
        made = replace(made, scale=1 / max(1, _losses(made, sources, given)))
    return run(made, sources, None if sink is None else str(sink), to_format=to_format, reduction=reduction, **given)


def _losses(operation, sources, given) -> int:
    """How many rankings have a loss: what its mean divides by, and so its gradient, which is then computed in a second
    pass over the input.
    """
    from ..stream import Silent, run

    if "-" in sources:
        raise OptionError(
            "the gradient of a mean reads its input twice; name a file, or pass --reduction sum and divide by the "
            "number of rankings"
        )

    class Unseen(Silent):
        def preview(self, schema):
            return Discarded()

    counted = replace(operation, gradient=False, grad_alpha=False, column="")
    return run(counted, sources, None, reduction="sum", **{**given, "words": Unseen()}).losses


class Discarded:
    """A sink for a result that nobody reads."""

    def write(self, table) -> None:
        pass

    def close(self, metadata: dict) -> None:
        pass

    def abandon(self) -> None:
        pass


def make_operation(name: str, alpha, k, names, **options):
    """The operation of a command, from its options; those that exclude or need each other are refused."""
    if name not in operators.OPERATIONS:
        raise OptionError(f"no operation {name!r}; known are {', '.join(operators.OPERATIONS)}")
    if alpha is not None and names.alpha is not None:
        raise OptionError("--alpha and --alpha-column exclude each other")
    if alpha is not None:
        options["alpha"] = Alpha.parse(alpha)
    _take_k(name, k, names, options)
    _take_beside(name, names, options)
    known = {field.name for field in fields(operators.OPERATIONS[name])}
    options = {key: value for key, value in options.items() if value is not None}
    if unknown := sorted(set(options) - known):
        raise OptionError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return operators.OPERATIONS[name](**options)


def _take_k(name, k, names, options):
    loss = options.get("loss")
    what = f"loss {loss}" if loss else name
    if name == "topk" or loss in ("topk", "recall"):
        if (k is None) == (names.k is None):
            raise OptionError(f"{what} needs one of --k, such as --k 10 or --k 10%, and --k-column")
    elif loss == "ndcg":
        if k is not None and names.k is not None:
            raise OptionError("--k and --k-column exclude each other")
    elif k is not None or names.k is not None:
        raise OptionError(f"{what} takes no k")
    if k is not None:
        options["ks"] = tuple(K.parse(part) for part in _parts(k))


def _take_beside(name, names, options):
    """An upstream gradient, or the target of a loss."""
    if name == "loss":
        if names.target is None:
            raise OptionError("loss needs --target, the column of what the scores should order")
        if names.upstream is not None:
            raise OptionError("loss takes no --upstream; --gradient writes the gradient of the loss")
    elif names.target is not None:
        raise OptionError(f"{name} takes no target")
    elif names.upstream is not None:
        options["gradient"] = True
    if not options.get("gradient") and (options.get("grad_alpha") or options.get("grad_k")):
        needed = "--gradient" if name == "loss" else "--upstream"
        raise OptionError(f"--grad-alpha and --grad-k need {needed}")


def _parts(k):
    """Several k: "10,100", or a list of them."""
    return [str(part) for part in k] if isinstance(k, list | tuple) else str(k).split(",")
