"""Networks that more than one tool uses, under the names of their published checkpoints."""
