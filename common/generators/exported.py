"""torch.export programs (.pt2) from z to images, read as data (see common/formats/exported_program.py)."""

import torch

from common.errors import InputError
from common.formats.exported_program import ExportedProgram
from common.generators.latent import LatentGenerator


def open_file(path, device, *, z_dim=None, output_range=None):
    """Return the generator of a torch.export program. z_dim: only checked, the program says it itself.

    output_range: the range of the program's images: "signed" (-1 to 1), "unit" (0 to 1) or "bytes" (0 to 255).
    """
    program = ExportedProgram(path, device)
    if z_dim not in (None, program.input_shape[0]):
        raise InputError(f"the program takes codes of width {program.input_shape[0]}", where=f"--z_dim {z_dim}",
                         do="Leave it out")
    return LatentGenerator("export", path, _InPieces(program), program.input_shape, output_range, device)


class _InPieces:
    """A program called with any number of codes, in pieces of the sizes it allows, the last one padded."""

    def __init__(self, program):
        self.program = program
        self.smallest, self.largest = program.batch

    def __call__(self, codes):
        pieces = codes.split(self.largest) if self.largest else [codes]
        return torch.cat([self._piece(piece) for piece in pieces])

    def _piece(self, codes):
        missing = max(0, self.smallest - len(codes))
        images = self.program(torch.cat([codes, codes[-1:].expand(missing, *codes.shape[1:])]))
        if not missing or not isinstance(images, torch.Tensor) or len(images) != len(codes) + missing:
            return images  # what is wrong with it is said by the caller
        return images[: len(codes)]
