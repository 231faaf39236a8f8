"""What the name of a logged quantity tells."""

_LOWER_IS_BETTER = ("loss", "error", "crossentropy", "divergence", "mae", "mse", "mape", "hinge")


def lower_is_better(name: str) -> bool:
    """Tell whether a quantity such as `val_loss` is the better the lower; scores are not."""
    return any(word in name for word in _LOWER_IS_BETTER)
