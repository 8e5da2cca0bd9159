"""Quasi-conservative score models (QC-NCSN++): train, sample, evaluate (arXiv 2209.12753)."""
