"""qc_ncsn sample."""
