"""torch.export programs (.pt2) from z to images, read as data (see common/formats/exported_program.py)."""

from common.errors import InputError
from common.formats.exported_program import ExportedProgram, InPieces
from common.generators.latent import LatentGenerator


def open_file(path, device, *, z_dim=None, output_range=None):
    """Return the generator of a torch.export program. z_dim: only checked, the program says it itself.

    output_range: the range of the program's images: "signed" (-1 to 1), "unit" (0 to 1) or "bytes" (0 to 255).
    """
    program = ExportedProgram(path, device)
    if z_dim not in (None, program.input_shape[0]):
        raise InputError(f"the program takes codes of width {program.input_shape[0]}", where=f"--z_dim {z_dim}",
                         do="Leave it out")
    return LatentGenerator("export", path, InPieces(program), program.input_shape, output_range, device)
