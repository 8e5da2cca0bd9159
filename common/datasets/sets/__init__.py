"""Named image data sets, and images of one's own."""
