"""qc_ncsn compare: finished runs side by side."""
