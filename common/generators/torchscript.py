"""TorchScript modules from z to images, of which only what computes is run (see common/formats/script_module.py)."""

from common.errors import InputError
from common.formats.script_module import load_script
from common.generators.latent import FAILURES, TRIAL, LatentGenerator, draw_codes, last_line, seeded, why_no_images

USUAL_WIDTH = 512  # of StyleGAN's and BlobGAN's z


def open_file(path, device, *, z_dim=None, output_range=None):
    """Return the generator of a TorchScript file.

    z_dim: width of the codes; None tries 512, then the input widths of the first weights.  output_range: the range
    of the module's images: "signed" (-1 to 1), "unit" (0 to 1) or "bytes" (0 to 255).
    """
    if z_dim is not None and z_dim < 1:
        raise InputError("must be at least 1", where=f"--z_dim {z_dim}", do="Correct the value")
    module = load_script(path, device)
    shape = _find_shape(module, path, device, [z_dim] if z_dim else _widths(module))
    return LatentGenerator("torchscript", path, module, shape, output_range, device)


def _widths(module):
    """Return the widths of z to try: the usual one, then those of the first weight's sides."""
    weights = [parameter for _, parameter in module.named_parameters() if parameter.dim() in (2, 4)][:1]
    # A linear layer or a convolution takes its second side, a transposed convolution its first.
    sides = [size for weight in weights for size in (weight.shape[1], weight.shape[0])]
    return list(dict.fromkeys([USUAL_WIDTH, *sides]))


def _find_shape(module, path, device, widths):
    """Return the shape of one code, (width,) or (width, 1, 1), by trying; InputError with the first failure."""
    reasons = []
    for width in widths:
        for shape in ((width,), (width, 1, 1)):
            try:
                images = seeded(module, draw_codes(range(TRIAL), 0, shape).to(device), 0)
            except FAILURES as error:
                reasons.append((1, last_line(error)))
                continue
            problem = why_no_images(images, TRIAL)
            if problem is None:
                return shape
            reasons.append((0, problem))
    ran, reason = min(reasons, key=lambda item: item[0])  # an answer of another shape says more than a failure
    if ran == 0:
        raise InputError(reason, where=path, do="Give a module from z to images (batch, 3 or 1, height, width)")
    tried = ", ".join(map(str, widths))
    raise InputError(f"the module takes no z of width {tried} ({reason})", where=path, do="Pass its width with --z_dim")
