"""Units: a ranking whose alpha is near either end of the floats is computed in a unit of its own.

Results depend on scores / alpha alone, sorted scores scale with both, gradients with the inverse. So the scores and
alpha of such a ranking are multiplied by one power of two on their way in, which is exact, and what comes out is scaled
back. Kernels then know 1 / alpha, and see no difference of subnormal numbers; all other rankings keep their bits.

Where scores span more than 2^1900 alphas no unit is good for both. Then alpha has one of its own, in which scores that
differ are still so far apart that an exponential of it is 0, and what grows with 1 / alpha is scaled by it. The same
does for float32 scores, whose differences are never near those ends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.device import DeviceWithKernels
from ..core.quantities import Alpha
from .softness import alphas_of

if TYPE_CHECKING:
    from ..core.rankings import Rankings
    from .slots import Derivatives, Forward

SCORES, ALPHA = "power of scores", "power of alpha"  # of Rankings.each: the powers of two that either is multiplied by

_HIGH = 960  # powers of two up to which an alpha is left alone, and from -_HIGH; scores of a ranking that is not
_LEAST, _MOST = 2.0**-_HIGH, 2.0**_HIGH
_LOWEST = -1000  # of an alpha that is not
_FAR = 2.0**500  # alphas; only what two units keep apart is farther in a ranking with two


def moderate(
    rankings: Rankings, alpha: Alpha, alphas: Any, constant: Any, on: DeviceWithKernels, of_constant: float | None
) -> tuple[Rankings, Any]:
    """Rankings, with their powers in `each`, and alphas that kernels can compute; as they are where all are ordinary.

    alphas, constant   as softness.alphas_of gives them; an alpha in deviations may be 0 or infinite here. What is on a
                       card is left alone.
    """
    import numpy as np

    if not isinstance(alphas, np.ndarray) or not len(alphas):
        return rankings, alphas
    is_one = "alpha" not in rankings.each and not alpha.relative
    least, most = (alpha.value, alpha.value) if is_one else (alphas[alphas.argmin()], alphas[alphas.argmax()])
    if least >= _LEAST and most <= _MOST:
        return rankings, alphas
    extreme = (alphas < _LEAST) | (alphas > _MOST)
    if constant is not None:
        constant = on.here_array(constant)
        extreme &= ~constant
    if not extreme.any():
        return rankings, alphas
    here, powers = on.here(rankings), np.zeros((2, len(alphas)), np.int64)
    for r in extreme.nonzero()[0]:
        powers[:, r] = _powers(here[int(r)], alphas[r])
    moved = rankings
    if powers[0].any():
        moved = replace(rankings, values=on.home(_scaled(here.values, here.offsets, powers[0]), rankings))
    if "alpha" in rankings.each or not alpha.relative:
        alphas = np.ldexp(alphas, powers[1])
    else:
        alphas = np.ldexp(on.here_array(alphas_of(alpha, moved, on, of_constant)[0]), powers[1] - powers[0])
        alphas[extreme] = np.clip(alphas[extreme], 2.0**_LOWEST, 2.0**_HIGH)
    return moved.with_each({**moved.each, SCORES: powers[0], ALPHA: powers[1]}), alphas


def _powers(x: Any, alpha: float) -> tuple[int, int]:
    """Powers of two for the scores of one ranking and for its alpha: the same if they can be, and small ones."""
    import numpy as np

    of_alpha = int(np.frexp(alpha)[1]) if 0 < alpha < np.inf else (1024 if alpha else -1074)
    power = 0
    if x.dtype == np.float64:
        is_finite = np.isfinite(x)
        largest = max(x.max(where=is_finite, initial=0.0), -x.min(where=is_finite, initial=0.0))
        of_scores = int(np.frexp(largest)[1])
        power = min(-of_alpha if of_alpha < -_HIGH else 0, _HIGH - max(of_alpha, of_scores))
        if power < 0 and is_finite.sum() == 1:  # which sorts to itself, however small
            power = 0
    return power, min(max(power, _LOWEST - of_alpha), _HIGH - of_alpha)


def _scaled(values: Any, offsets: Any, powers: Any) -> Any:
    """A copy of values (N,) in which those of each ranking are multiplied by two to its power; inf where they exceed
    their dtype.
    """
    import numpy as np

    out = values.copy()
    with np.errstate(over="ignore", under="ignore"):
        for r in powers.nonzero()[0]:
            part = slice(offsets[r], offsets[r + 1])
            np.ldexp(values[part], powers[r], out=out[part])
    return out


def _farther(values: Any, scaled: Any) -> Any:
    """Of results those that are so large that they are distances in alphas, scaled."""
    import numpy as np

    return np.where(np.abs(values) > np.float64(_FAR), scaled, values)


def put_back(made: Forward, rankings: Rankings, of_scores: tuple[str, ...], result: str, on: DeviceWithKernels) -> None:
    """Change what a forward pass made to the unit that the rankings came in. of_scores: slots that scale with them."""
    if SCORES not in rankings.each:
        return
    import numpy as np

    powers, more = rankings.each[SCORES], rankings.each[ALPHA] - rankings.each[SCORES]
    if made.values is not None:
        values = on.here_array(made.values)
        if result in of_scores:
            values = _scaled(values, rankings.offsets, -powers)
        else:
            values = _farther(values, _scaled(values, rankings.offsets, more))
        made.values = on.home(values, rankings)
    numbers = on.here_numbers({name: found for name, found in made.numbers.items() if hasattr(found, "dtype")})
    with np.errstate(over="ignore"):
        for name, found in numbers.items():
            if name in of_scores:
                numbers[name] = np.ldexp(found, -powers)
            else:
                numbers[name] = _farther(found, np.ldexp(found, more))
    made.numbers = {**made.numbers, **numbers}


def gradients_back(found: Derivatives, rankings: Rankings, on: DeviceWithKernels) -> Derivatives:
    """Gradients of what does not scale with the scores, in the unit that the rankings came in."""
    if SCORES not in rankings.each:
        return found
    import numpy as np

    powers = rankings.each[ALPHA]
    scores = on.home(_scaled(on.here_array(found.scores), rankings.offsets, powers), rankings)
    with np.errstate(over="ignore"):
        return found._replace(scores=scores, alpha=np.ldexp(on.here_array(found.alpha), powers))
