"""NeuralSort (Grover, Wang, Zweig, Ermon, ICLR 2019): rows that are softmaxes of how well an item fits a position."""

from . import matrices

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
) = matrices.passes(lambda given: matrices.Softmaxes(0.0))
