"""What tests of predictions share."""

LEVELS = [200, 10, 90, 250, 0, 30, 130, 70, 255, 180, 120]
NAMES = ["light" if level >= 128 else "dark" for level in LEVELS]
