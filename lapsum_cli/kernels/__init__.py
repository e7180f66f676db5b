"""The numerical contract: what every kernel computes, by which conventions, and how far it may be off.

F is the CDF of the Laplace distribution, alpha > 0 its scale in the unit of the scores, x the n scores of one ranking.

    soft rank         r_i = base + sum over j != i of F((x_j - x_i) / alpha)     the largest score is near `base`
    soft sort         y_l: sum over j of F((x_j - y_l) / alpha) = l + 1/2        l from 0, the largest first
    soft top-k        p_i = F((x_i - b) / alpha), b such that the p_i sum to k   the largest are in
    soft permutation  P_il = p_i(k = l + 1) - p_i(k = l)                         rows and columns sum to 1

and the gradients of sum v_i result_i with respect to the scores, alpha and k: the same sums, weighted by v, in O(n).

alpha -> 0 gives the hard rank (ties share the mean of their places), the hard top k (a tie across the boundary shares
its places equally) and so on; alpha -> inf gives the middle rank and k / n, while the sort spreads as the mean plus
alpha times quantiles of F. Ascending order is that of the negated scores.

* Equal scores get equal ranks, memberships and their logarithms, to the bit. An order of the input changes no rank, to
  the bit.
* -inf is padding, whatever the order: membership 0, the mean of the last ranks, last in the sort, the last positions in
  equal shares, no part in a loss nor in a share such as 10%; k is at most the number of other scores. In ascending
  order +inf, which is the last there, is padding too (it sorts before -inf). In descending order +inf is the first;
  more than k of them share k equally. Kernels know the infinity that comes last as padding, and operations/padding.py
  makes it that. Infinite scores have gradient 0, and no part in a deviation.
* k <= 0 gives zeros, k >= n ones, both with gradient 0. k may be fractional.
* Inputs are never modified. A result depends on its ranking alone, to the bit: not on the batch or the place in it, the
  threads or the memory. So no multiply-add is the compiler's choice (scalars/functions.py fma).
* Every exponent is <= 0, and differences are taken between scores, never from an origin: no finite input overflows,
  and an offset of the scores costs nothing but what the dtype already lost.

Errors against the definition in float64 on the same scores, as tests/laws/test_accuracy.py measures them: float64 below
1e-12 for memberships and 1e-12 n for ranks; float32 below 2e-6 for memberships and 2e-7 n for ranks; the sums of
memberships and ranks within 1e-6 of k and n (n + 1) / 2, relative, at n = 10^6 for alpha from 1e-6 to 1e3. Gradients
against the dense Jacobian, as tests/laws/test_gradients.py measures them, relative to the largest entry: 1e-12 in
float64, 2e-6 in float32, where the terms that meet there do not cancel; they may exceed float32 (inf) at an alpha below
1e-37.

    scalars   one number at a time, for both devices: functions, the Laplace root, the merge law, keys, places, cuts
    parts     the road of a ranking larger than a part: summarise, merge, finish
    cpu       loops on cores
    losses    of soft results against targets
    cuda      twins for GPUs, imported by whoever asks for one: the same contract holds there
    jit       how kernels are compiled: when they are first called, with all that they call
    cache     where what was compiled is kept
"""

__all__ = ["cpu", "jit", "losses", "parts", "scalars"]
