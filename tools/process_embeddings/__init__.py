"""Maps of activations."""
