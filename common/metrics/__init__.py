"""Measures of sample quality: features -> statistics -> value, one file each."""
