"""Noise by counting: known words, and independence of all but seed, ranking, draw and column."""

import numpy as np
import pytest

import lapsum_cli as lapsum
from lapsum_cli.kernels.scalars import philox

X = np.random.default_rng(0).standard_normal((6, 20))
HOW = {"method": "noised", "alpha": 1.0, "draws": 7}


def test_words_are_those_of_philox():
    """Random123's known answers for Philox4x32-10: all zeros, and all ones."""
    assert [int(w) for w in philox.words(0, 0, 0, 0, 0)] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = 2**32 - 1
    got = [int(w) for w in philox.words(np.uint64(2**64 - 1), ones, ones, ones, ones)]
    assert got == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_noise_is_normal():
    noise = np.array([philox.normal(1, r, b, i) for r in range(5) for b in range(40) for i in range(100)])
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 1) < 0.02
    assert abs((np.abs(noise) < 1).mean() - 0.6827) < 0.02
    assert len(set(noise)) == len(noise)


def test_it_depends_on_the_seed_and_the_ranking_alone(tmp_path):
    p = lapsum.soft_topk(X, 3, **HOW)
    assert np.array_equal(p, lapsum.soft_topk(X, 3, threads=2, **HOW))
    assert not np.array_equal(p, lapsum.soft_topk(X, 3, seed=1, **HOW))
    assert len(np.unique(lapsum.soft_topk(np.tile(X[:1], (50, 1)), 3, **HOW), axis=0)) > 10
    np.save(tmp_path / "x.npy", X)
    lapsum.run_file("topk", tmp_path / "x.npy", tmp_path / "p.npy", k=3, **HOW)
    assert np.array_equal(np.load(tmp_path / "p.npy"), p)


def test_a_file_of_many_batches_has_a_number_for_each_ranking(tmp_path):
    x = np.random.default_rng(1).standard_normal((120_000, 10))
    np.save(tmp_path / "x.npy", x)
    lapsum.run_file("topk", tmp_path / "x.npy", tmp_path / "p.npy", k=3, memory="400MiB", **HOW)
    assert np.array_equal(np.load(tmp_path / "p.npy"), lapsum.soft_topk(x, 3, **HOW))


def test_noise_is_given_for_every_score_also_where_there_are_none():
    for shape in ((0,), (3, 0), (0, 4)):
        assert lapsum.soft_topk(np.zeros(shape), 1, noise=np.zeros((*shape, 7)), **HOW).shape == shape
    for wrong in ((3,), (4, 7), (3, 0)):
        with pytest.raises(lapsum.OptionError, match="must have that of the scores, and an axis more"):
            lapsum.soft_topk(np.zeros(3), 1, noise=np.zeros(wrong), **HOW)
