"""Score models that several tools load and sample from: configurations, checkpoints, the SDE and its samplers."""
