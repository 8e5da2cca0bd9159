"""Named image data sets, and the user's own images."""
