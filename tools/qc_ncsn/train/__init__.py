"""qc_ncsn train."""
