"""The greedy cut, by what it promises of every piece."""

import doctest
import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lapsum_cli.core import cuts

sizes = st.lists(st.integers(0, 9), max_size=40)
mosts = st.integers(1, 20)


def pieces_of(sizes, most, reaching, start):
    """The pieces, as lists of sizes; `start` is what lies before the first item, as in a slice of offsets."""
    return [sizes[first:last] for first, last in cuts.cut(start + cuts.sizes_before(sizes), most, reaching)]


@given(sizes, mosts, st.booleans(), st.integers(0, 5))
def test_pieces_are_all_items_in_order_and_none_is_empty(sizes, most, reaching, start):
    pieces = pieces_of(sizes, most, reaching, start)
    assert [size for piece in pieces for size in piece] == sizes
    assert all(pieces)


@given(sizes, mosts, st.integers(0, 5))
def test_a_piece_holds_what_fits_and_no_less(sizes, most, start):
    pieces = pieces_of(sizes, most, False, start)
    assert all(sum(piece) <= most or len(piece) == 1 for piece in pieces)
    assert all(sum(piece) + following[0] > most for piece, following in itertools.pairwise(pieces))


@given(sizes, mosts, st.integers(0, 5))
def test_a_piece_ends_with_the_item_that_reaches(sizes, most, start):
    pieces = pieces_of(sizes, most, True, start)
    assert all(sum(piece) >= most for piece in pieces[:-1])
    assert all(sum(piece[:-1]) < most for piece in pieces)


def test_the_examples_are_true():
    assert doctest.testmod(cuts) == (0, 2)
    assert list(cuts.cut(np.zeros(1), 5)) == []
