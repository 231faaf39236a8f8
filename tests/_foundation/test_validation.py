"""The texts of the errors that several subpackages share."""

import numpy as np
import pytest

from cnnkit._foundation.validation import check_image_size, check_one_of, check_whole_number, listed

DEPTHS = (18, 34, 50, 101, 152)


@pytest.mark.parametrize(
    ("expected", "options"),
    [("a", ["a"]), ("a or b", ["a", "b"]), ("1, 2 or 3", (1, 2, 3)), ("a or b", iter("ab"))],
)
def test_options_are_listed_for_reading(expected, options):
    """Options are joined by commas, the last by "or"."""
    assert expected == listed(options)


@pytest.mark.parametrize("value", DEPTHS)
def test_an_option_passes(value):
    """A value among the options is no error."""
    assert check_one_of("depth", value, DEPTHS) is None


def test_none_can_be_an_option():
    """None is a value as any other where it is among the options."""
    assert check_one_of("pooling", None, (None, "avg", "max")) is None


def test_nearest_number_is_suggested():
    """The message suggests the option nearest to a wrong number."""
    message = (
        r"^`depth` must be one of 18, 34, 50, 101 or 152\. Received: depth=36\. "
        r"Did you mean 34\?$"
    )

    with pytest.raises(ValueError, match=message):
        check_one_of("depth", 36, DEPTHS)


def test_nearest_word_is_suggested():
    """The message suggests the option nearest to a mistyped word."""
    message = (
        r"^`how` must be one of 'copy', 'hardlink' or 'symlink'\. Received: how='simlink'\. "
        r"Did you mean 'symlink'\?$"
    )

    with pytest.raises(ValueError, match=message):
        check_one_of("how", "simlink", ("copy", "hardlink", "symlink"))


@pytest.mark.parametrize("value", ["zebra", 7, None, True])
def test_nothing_is_suggested_where_nothing_is_near(value):
    """If no option is similar to the value, the message lists the options only."""
    message = rf"^`how` must be one of 'copy' or 'hardlink'\. Received: how={value!r}\.$"

    with pytest.raises(ValueError, match=message):
        check_one_of("how", value, ("copy", "hardlink"))


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_become_ints(value):
    """NumPy's whole numbers pass as well as Python's and become an int."""
    result = check_whole_number("draws", value)

    assert (3, int) == (result, type(result))


@pytest.mark.parametrize("value", [2.0, "2", None, np.float64(2), (2,)])
def test_other_types_are_no_whole_numbers(value):
    """What is not an integer is a TypeError, a float without a fraction too."""
    with pytest.raises(TypeError, match=r"^`draws` must be a whole number\. Received: draws="):
        check_whole_number("draws", value)


@pytest.mark.parametrize(("value", "least"), [(0, 1), (-1, 0), (4, 5)])
def test_numbers_below_the_least_are_errors(value, least):
    """For a number that is too small, the message names the smallest valid one."""
    message = rf"^`draws` must be a whole number of at least {least}\. Received: draws={value}\.$"

    with pytest.raises(ValueError, match=message):
        check_whole_number("draws", value, least=least)


@pytest.mark.parametrize("value", [True, False])
def test_truth_values_are_no_whole_numbers(value):
    """A flag in the place of a number is an error, though Python counts it as 0 or 1."""
    message = rf"must be a whole number of at least 0\. Received: draws={value}\.$"

    with pytest.raises(ValueError, match=message):
        check_whole_number("draws", value, least=0)


def test_the_least_number_passes():
    """The bound itself is allowed."""
    assert 5 == check_whole_number("draws", 5, least=5)


@pytest.mark.parametrize("image_size", [(2, 3), [2, 3], (np.int64(2), np.uint8(3))])
def test_pairs_of_whole_numbers_are_image_sizes(image_size):
    """A pair becomes a tuple of ints, the height first."""
    result = check_image_size(image_size)

    assert ((2, 3), [int, int]) == (result, [type(side) for side in result])


@pytest.mark.parametrize(
    "image_size", [224, (224,), (224, 224, 3), "ab", (224.0, 224), (0, 5), (5, -1), None, ("a", 1)]
)
def test_everything_else_is_no_image_size(image_size):
    """Any other image size is refused, with an example of a valid one."""
    message = (
        r"^`image_size` must be a pair of whole numbers, \(height, width\), for example "
        r"\(224, 224\)\. Received: image_size=.*\.$"
    )

    with pytest.raises(ValueError, match=message):
        check_image_size(image_size)
