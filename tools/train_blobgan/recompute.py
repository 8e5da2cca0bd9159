"""The generator with its activations computed again in the backward pass: less memory for more time."""

from torch.utils.checkpoint import checkpoint


def rendering(generator, recompute):
    """Return generator.forward, or with `recompute` the same without its activations in memory until the backward
    pass."""
    if not recompute:
        return generator

    def render(splatted, maps):
        return checkpoint(generator, splatted, maps, use_reentrant=False, preserve_rng_state=False)

    return render
