"""Score models that several tools load and sample from: configurations and checkpoints."""
