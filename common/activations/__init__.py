"""Activations of ADM networks on disk: the published tree, a fast form of it, and readers of both.

    activations = open_activations("data", "imagenet_real")
    activations.layers, activations.num_samples, activations.records    # names, number, one dict for each sample
    rows = activations.rows()                # all layers, sorted by name and concatenated; rows("midblock"): one
    rows.shape, rows[100:200]                # (N, D), float32 (100, D) read from disk
"""

from common.activations.read import open_activations

__all__ = ["open_activations"]
