"""The operation of a command, from its options as they are typed; those that exclude or need each other are refused."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..core.errors import OptionError
from ..core.quantities import Alpha, K, Q
from ..core.renamed import renamed
from ..operations import METHODS, operation_called
from ..operations.loss import Loss, check_stages
from ..operations.losses import asked_for, losses_of, need_of_k
from ..operations.operation import Operation
from ..tables.roles import Names


def make_operation(name: str, alpha: Any, k: Any, names: Names, **options: Any) -> Operation:
    """The operation of a command, from its options; those that exclude or need each other are refused."""
    made = operation_called(name)
    if alpha is not None and names.alpha is not None:
        raise OptionError("⟨alpha⟩ and ⟨alpha_column⟩ exclude each other")
    if alpha is not None:
        options["alpha"] = Alpha.parse(alpha)
    _take_k(made, k, names, options)
    _take_q(made, options)
    _take_beside(made, names, options)
    options = {key: value for key, value in renamed(options, "descending", made.direction).items() if value is not None}
    known = {made.direction if field.name == "descending" else field.name for field in fields(made)}
    if unknown := sorted(set(options) - known):
        raise OptionError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    if made.direction in options:
        options["descending"] = options.pop(made.direction)
    return losses_of(**options) if made is Loss else made(**options)


def _take_k(made: Any, k: Any, names: Names, options: dict[str, Any]) -> None:
    """k as the operation, or the loss, takes it: it may need one, do with one, or have no use for it."""
    loss = options.get("loss")
    what = f"loss {loss}" if loss else made.name
    method = METHODS.get(options.get("method") or "lapsum")
    need = "needed" if "k" in made.takes and (method is None or method.takes_k) else "none"
    what = f"{what} by {options['method']}" if method is not None and not method.takes_k else what
    if loss is not None:
        need = need_of_k(loss)
    if need == "needed" and (k is None) == (names.k is None):
        raise OptionError(f"{what} needs one of ⟨k⟩, such as ⟨k=10⟩ or ⟨k=10%⟩, and ⟨k_column⟩")
    if need == "optional" and k is not None and names.k is not None:
        raise OptionError("⟨k⟩ and ⟨k_column⟩ exclude each other")
    if need == "none" and (k is not None or names.k is not None):
        raise OptionError(f"{what} takes no k")
    if k is not None:
        options["ks"] = tuple(K.parse(part) for part in _parts(k))


def _take_q(made: Any, options: dict[str, Any]) -> None:
    """Which quantiles."""
    q = options.pop("q", None)
    if (q is not None) != ("q" in made.takes):
        raise OptionError(f"{made.name} takes no q" if q is not None else "quantile needs ⟨q⟩, such as ⟨q=0.5⟩")
    if q is not None:
        options["qs"] = tuple(Q.parse(part) for part in _parts(q))


def _take_beside(made: Any, names: Names, options: dict[str, Any]) -> None:
    """An upstream gradient, the target of a loss, or columns to keep."""
    has_target = "target" in made.takes
    asks_gradient = any(field.name == "gradient" and "help" in field.metadata for field in fields(made))
    if has_target and names.stage is None:
        for name, _ in asked_for(options.get("loss") or Loss.loss):
            check_stages(name, 1)
    if has_target and names.target is None:
        raise OptionError("loss needs ⟨target⟩, the column of what the scores should order")
    if names.upstream is not None and "upstream" not in made.takes:
        other = f"; ⟨gradient=True⟩ writes the gradient of the {made.name}" if asks_gradient else ""
        raise OptionError(f"{made.name} takes no ⟨upstream⟩{other}")
    if options.get("gradient") and not asks_gradient:
        other = "; name ⟨upstream⟩ for its gradient" if "upstream" in made.takes else ""
        raise OptionError(f"{made.name} takes no ⟨gradient⟩{other}")
    if not has_target and names.target is not None:
        raise OptionError(f"{made.name} takes no target")
    if not has_target and names.weight is not None:
        raise OptionError(f"{made.name} takes no ⟨weight⟩; losses do")
    if not has_target and names.upstream is not None:
        options["gradient"] = True
    if names.keep and "keep" not in made.takes:
        raise OptionError(f"{made.name} takes no ⟨keep⟩")
    if not options.get("gradient") and any(options.get(f"grad_{what}") for what in ("alpha", "k", "q")):
        needed = "⟨upstream⟩" if "upstream" in made.takes else "⟨gradient=True⟩"
        other = "⟨grad_q=True⟩" if "q" in made.takes else "⟨grad_k=True⟩"
        raise OptionError(f"⟨grad_alpha=True⟩ and {other} need {needed}")


def _parts(k: Any) -> list[str]:
    """Several k, or q: "10,100", or a list of them."""
    return [str(part) for part in k] if isinstance(k, list | tuple) else str(k).split(",")


def stages_of(given: Any, loss: Any, score: Any, columns: Any) -> tuple[str, ...]:
    """The columns of the stages of a cascade; OptionError where they are no two, or there is another score."""
    found = tuple(filter(None, map(str.strip, given.split(",")))) if isinstance(given, str) else tuple(map(str, given))
    if loss is None:
        raise OptionError("⟨stages⟩ are of use to losses of cascades")
    for name, _ in asked_for(loss):
        check_stages(name, len(found))
    if len(set(found)) < len(found):
        raise OptionError(f'⟨stages⟩ has "{found[0]}" twice')
    if score is not None or columns is not None:
        raise OptionError("⟨stages⟩ are the scores; they do not go with ⟨score⟩ or ⟨columns⟩")
    return found
