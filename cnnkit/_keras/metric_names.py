"""What the name of a logged quantity says about it."""

_LOWER_IS_BETTER = ("loss", "error", "crossentropy", "divergence", "mae", "mse", "mape", "hinge")


def lower_is_better(name: str) -> bool:
    """Tell whether lower is better, as for losses such as `val_loss` and not for scores."""
    return any(word in name for word in _LOWER_IS_BETTER)
