"""Broadcasting of per-image values."""


def per_image(values, like):
    """Return per-image values (B,) shaped to multiply images (B, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))  # (B, 1, ..., 1)
