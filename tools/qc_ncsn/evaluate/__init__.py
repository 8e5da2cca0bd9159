"""qc_ncsn eval: likelihood, asymmetry, features, sample scores."""
