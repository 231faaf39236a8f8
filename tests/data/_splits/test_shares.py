"""class_counts: how many images of each class go to each part."""

import itertools
from fractions import Fraction

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnkit.data._splits.shares import class_counts


def sizes_of_parts(total, first, second):
    """Turn two drawn numbers into sizes of train, validation and test."""
    assume(total > 0)
    validation = first % (total + 1)
    test = second % (total - validation + 1)
    return np.array([total - validation - test, validation, test])


def counts_and_shares(counts, class_sizes, sizes):
    """Yield every count beside its exact share."""
    for row, class_size in zip(counts, class_sizes, strict=True):
        for count, size in zip(row, sizes, strict=True):
            yield int(count), Fraction(class_size * int(size), sum(class_sizes))


def roundings(class_sizes, sizes, shares):
    """Yield every table with the margins whose counts are the shares, rounded down or up."""
    low, high = np.floor(shares + 1e-9), np.ceil(shares - 1e-9)
    rows = [
        [row for row in itertools.product(*zip(*limits, strict=True)) if sum(row) == class_size]
        for class_size, *limits in zip(class_sizes, low, high, strict=True)
    ]
    for table in itertools.product(*rows):
        if np.array_equal(np.sum(table, axis=0), sizes):
            yield np.array(table)


def worth(counts, shares):
    """Return a key to compare tables: the empty cells, then the remainders."""
    empty = ((counts == 0) & (shares > 1e-9)).sum()
    up = counts > np.floor(shares + 1e-9)
    return (-int(empty), float((shares - np.floor(shares + 1e-9))[up].sum()))


class TestClassCounts:
    """Each class is shared out with exact margins, within one image of the exact share."""

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(
        st.lists(st.integers(0, 500), min_size=1, max_size=12),
        st.integers(0, 10_000),
        st.integers(0, 10_000),
    )
    def test_margins_are_exact(self, class_sizes, first, second):
        """Every image goes to one part, and every part is full, for any sizes."""
        sizes = sizes_of_parts(sum(class_sizes), first, second)

        counts = class_counts(np.array(class_sizes), sizes)

        assert class_sizes == counts.sum(axis=1).tolist()
        assert sizes.tolist() == counts.sum(axis=0).tolist()

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(
        st.lists(st.integers(0, 500), min_size=1, max_size=12),
        st.integers(0, 10_000),
        st.integers(0, 10_000),
    )
    def test_counts_are_within_one(self, class_sizes, first, second):
        """Every count is within one image of its exact share, for any sizes."""
        sizes = sizes_of_parts(sum(class_sizes), first, second)

        counts = class_counts(np.array(class_sizes), sizes)

        for count, share in counts_and_shares(counts, class_sizes, sizes):
            assert abs(count - share) <= 1

    @settings(deadline=None, max_examples=40)  # a busy machine is no failure
    @given(
        st.lists(st.integers(0, 12), min_size=1, max_size=4),
        st.integers(0, 100),
        st.integers(0, 100),
    )
    def test_best_of_all_tables(self, class_sizes, first, second):
        """No other rounding has fewer empty cells, or as few and larger remainders."""
        sizes = sizes_of_parts(sum(class_sizes), first, second)
        shares = np.outer(class_sizes, sizes) / sum(class_sizes)

        counts = class_counts(np.array(class_sizes), sizes)

        best = max(worth(table, shares) for table in roundings(class_sizes, sizes, shares))
        np.testing.assert_allclose(best, worth(counts, shares), atol=1e-9)

    def test_small_class_stands_in_every_part(self):
        """Three images go to three parts where the sizes allow it."""
        counts = class_counts(np.array([3, 100]), np.array([61, 21, 21]))

        assert [1, 1, 1] == counts[0].tolist()

    def test_many_classes(self):
        """A thousand classes are shared out too."""
        class_sizes = np.random.default_rng(0).integers(5, 100, 1000)
        fifth = class_sizes.sum() // 5

        counts = class_counts(class_sizes, np.array([class_sizes.sum() - 2 * fifth, fifth, fifth]))

        assert (counts > 0).all()

    def test_exact_shares_are_kept(self):
        """Where the exact share is a whole number, it is the count."""
        counts = class_counts(np.array([60, 20, 10]), np.array([54, 18, 18]))

        assert [[36, 12, 12], [12, 4, 4], [6, 2, 2]] == counts.tolist()
