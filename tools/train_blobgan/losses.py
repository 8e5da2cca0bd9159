"""The losses of a GAN, one number for each row."""

import torch
from torch.nn.functional import softplus


def wish_for_real(logits):
    """Return -log sigmoid(logit), (B,): small where the discriminator takes the picture for real."""
    return softplus(-logits)


def wish_for_fake(logits):
    """Return -log(1 - sigmoid(logit)), (B,): small where it takes the picture for generated."""
    return softplus(logits)


def r1_penalty(logits, images):
    """Return the squared norm of the derivative of the logits' sum by each image, (B,), itself differentiable.

    logits: (B,) of images (B, 3, H, W), which require a gradient (Mescheder et al. 2018, R1, without the half). The
    square has a derivative at 0, where the norm has none.
    """
    if logits.shape != images.shape[:1]:  # (B, 1) would be broadcast wherever it meets (B,)
        raise ValueError(f"logits of shape {tuple(logits.shape)} for {len(images)} images")
    gradient, = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))
