"""Shapes of values that belong to images."""


def per_image(values, like):
    """Return per-image values (B,) shaped to multiply images (B, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
