"""Statistics of data sets for FID."""
