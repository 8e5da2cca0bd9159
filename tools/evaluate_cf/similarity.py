"""How alike two pictures are to a network of the user's: the cosine of its outputs."""

import torch
import torch.nn.functional as F

from common.errors import InputError


class Similarity:
    """The cosine between a program's outputs, features, of two pictures: S3 of ACE with SimSiam's network, the identity
    of faces with a face network. program: PictureProgram."""

    def __init__(self, program):
        self.program = program

    @torch.no_grad()
    def __call__(self, first, second):
        """Return the cosines (B,) of pictures (B, 3, H, W) in [-1, 1]; outputs are flattened."""
        one, two = (self.program.outputs(pictures).double().flatten(1) for pictures in (first, second))
        return F.cosine_similarity(one, two, dim=1).float()


def check_features(output, path):
    """Raise InputError for an output of a program that has no direction: one number a picture."""
    if output.dim() < 2 or output[0].numel() < 2:
        raise InputError(f"its output is {tuple(output.shape)}, one number a picture", where=path,
                         do="Give a network of features, or choose another --similarity_output")
