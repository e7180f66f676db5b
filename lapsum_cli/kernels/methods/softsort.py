"""SoftSort (Prillo and Eisenschlos, ICML 2020): rows that are softmaxes of distances from the sorted scores.

With distances as they are, of power 1, products with the matrix are linear after a sort; with another power quadratic.
"""

from . import matrices


def _matrix(given):
    power = float(given.choices["power"])
    return matrices.Laplace(power) if power == 1.0 else matrices.Softmaxes(power)


(
    rank,
    rank_gradient,
    sort,
    sort_gradient,
    topk,
    topk_gradient,
    permute,
    permute_rows,
    permute_gradient,
) = matrices.passes(_matrix)
