"""Raw photos to chunked data sets."""
