"""TorchScript modules from z to images, of which only what computes is run (see common/formats/script_module.py)."""

import itertools

from common.errors import InputError, Parameter
from common.formats.programs import FAILURES, last_line
from common.formats.script_module import load_script
from common.generators.latent import TRIAL, ClassLabels, LatentGenerator, draw_codes, seeded, why_no_images

USUAL_WIDTH = 512  # of StyleGAN's and BlobGAN's z


def open_file(path, device, *, z_dim=None, output_range=None, num_classes=None, class_label=None):
    """Return the generator of a TorchScript file.

    z_dim: width of the codes; None tries 512, then the input widths of the first weights.  output_range: the range
    of the module's images: "signed" (-1 to 1), "unit" (0 to 1) or "bytes" (0 to 255).  num_classes: of a module that
    takes class labels as well, drawn for each image; class_label: the class of all images instead.
    """
    if z_dim is not None and z_dim < 1:
        raise InputError("must be at least 1", where=f"--z_dim {z_dim}", do="Correct the value")
    module = load_script(path, device)
    shape, labels = _find_shape(module, path, device, [z_dim] if z_dim else _widths(module),
                                _label_forms(module, path, num_classes, class_label))
    return LatentGenerator("torchscript", path, module, shape, output_range, device, labels)


def _label_forms(module, path, num_classes, class_label):
    """Return the ClassLabels to try, [None] for a module that takes codes alone. Raises InputError."""
    arguments = module.forward.schema.arguments[2:]  # after self and z
    required = [argument.name for argument in arguments if not argument.has_default_value()]
    if len(required) > 1:
        names = ", ".join(required)
        raise InputError(f"the module takes {names} in addition to its codes, expected at most class labels",
                         where=path, do="Export a module of z, or of z and labels")
    if class_label is not None and num_classes is None:
        raise InputError("needs the number of classes", where=Parameter("class_label", class_label),
                         do="Pass `num_classes`")
    if num_classes is None and required:
        raise InputError(f"the module takes '{required[0]}' in addition to its codes", where=path,
                         do="If these are class labels, pass their number as `num_classes`")
    if num_classes is not None and not arguments:
        raise InputError("the module takes no class labels", where=Parameter("num_classes", num_classes),
                         do="Leave it out")
    if num_classes is None:
        return [None]
    return [ClassLabels(num_classes, class_label, one_hot) for one_hot in (True, False)]


def _widths(module):
    """Return the widths of z to try: the usual one, then those of the first weight's sides."""
    weights = [parameter for _, parameter in module.named_parameters() if parameter.dim() in (2, 4)][:1]
    # A linear layer or a convolution takes its second side, a transposed convolution its first.
    sides = [size for weight in weights for size in (weight.shape[1], weight.shape[0])]
    return list(dict.fromkeys([USUAL_WIDTH, *sides]))


def _find_shape(module, path, device, widths, label_forms):
    """Return (shape of one code, (width,) or (width, 1, 1), form of the labels) by trying.

    Raises InputError with the first failure.
    """
    reasons = []
    shapes = [shape for width in widths for shape in ((width,), (width, 1, 1))]
    for shape, labels in itertools.product(shapes, label_forms):
        more = [labels.draw(range(TRIAL), 0).to(device)] if labels else []
        try:
            images = seeded(module, draw_codes(range(TRIAL), 0, shape).to(device), 0, *more)
        except FAILURES as error:
            reasons.append((1, last_line(error)))
            continue
        problem = why_no_images(images, TRIAL)
        if problem is None:
            return shape, labels
        reasons.append((0, problem))
    ran, reason = min(reasons, key=lambda item: item[0])  # an answer of another shape says more than a failure
    if ran == 0:
        raise InputError(reason, where=path, do="Give a module from z to images (batch, 3 or 1, height, width)")
    tried = ", ".join(map(str, widths))
    raise InputError(f"the module takes no z of width {tried} ({reason})", where=path, do="Pass its width with --z_dim")
