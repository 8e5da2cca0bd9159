"""Any program of pictures: TorchScript modules, torch.export programs, DeepLabV3, in the range and size that they take.

Programs are opened by the readers that run nothing but tensor operators. Opening one runs a trial, so that a program
that cannot be used is refused at once: outputs that are not finite, or pictures that change each other, as a network
saved in training mode does.
"""

import torch
import torch.nn.functional as F

from common.errors import InputError
from common.formats.programs import FAILURES, last_line

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures in 0..1
TRIAL, SIDE = 3, 64  # pictures of a trial, and their side where nothing says another
ALONE = 1e-3  # of the largest value: how much a picture's output may differ in a batch, which is rounding


class PictureProgram:
    """A program of pictures, of which one output is used.

    run: function of pictures in the program's range and size -> a tensor, or a dictionary or tuple of them.
    size: (H, W) of its pictures, None for any: others are resized, bilinear, antialiased.
    value_range: signed (-1 to 1), unit (0 to 1) or imagenet (normalised).  output: key or number of the output, None
    for the first.  device: where it is.  flags: what the flags of the last three begin with, for messages.
    """

    def __init__(self, run, path, size=None, value_range="signed", output=None, device="cpu", flags="--"):
        self.run, self.path, self.output, self.device = run, path, output, device
        self.value_range, self.resized, self.flags = value_range, size, flags

    def outputs(self, images):
        """Return the chosen output of images (B, 3, H, W) in [-1, 1]; floats in their precision, under autocast too."""
        dtype = images.dtype
        if self.resized is not None and tuple(images.shape[2:]) != tuple(self.resized):
            images = F.interpolate(images, size=tuple(self.resized), mode="bilinear", antialias=True)
        if self.value_range != "signed":
            images = (images + 1) / 2
        if self.value_range == "imagenet":
            mean, deviation = (images.new_tensor(each)[:, None, None] for each in (MEAN, DEVIATION))
            images = (images - mean) / deviation
        found = self._chosen(self.run(images))
        return found.to(dtype) if found.is_floating_point() else found

    def _chosen(self, value):
        """Return one tensor of what a program returned; InputError where it holds no such output."""
        if isinstance(value, dict):
            keys = [str(key) for key in value]
            key = self.output or ("out" if "out" in keys else keys[0])
            if key not in keys:
                raise self._no_output(keys)
            value = next(part for name, part in value.items() if str(name) == key)
        elif isinstance(value, (tuple, list)):
            keys = [str(number) for number in range(len(value))]
            if (self.output or "0") not in keys:
                raise self._no_output(keys)
            value = value[int(self.output or 0)]
        elif self.output not in (None, "0"):
            raise self._no_output(["0"])
        if not isinstance(value, torch.Tensor):
            raise InputError(f"its output is of type {type(value).__name__}, not a tensor", where=self.path,
                             do=f"Choose another with {self.flags}output, or export a wrapper that returns tensors")
        return value

    def _no_output(self, keys):
        return InputError("the program has no such output", where=f"{self.flags}output {self.output}",
                          do=f"It returns {', '.join(keys)}")

    def trial(self, size, check=lambda output: None):
        """Run a trial on pictures of (H, W); return (pictures, output), with a derivative.

        check: of the output, before its values are looked at. Raises InputError for a program that cannot be used.
        """
        generator = torch.Generator().manual_seed(0)
        images = (torch.rand(TRIAL, 3, *size, generator=generator) * 1.6 - 0.8).to(self.device).requires_grad_()
        try:
            output = self.outputs(images)
            alone = self.outputs(images[:1].detach())
        except FAILURES as error:
            raise InputError(f"it fails on pictures of {size[0]} x {size[1]} ({last_line(error)})", where=self.path,
                             do=f"Give its size with {self.flags}size H W") from error
        if output.shape[0] != TRIAL:
            raise InputError(f"{TRIAL} pictures give an output of {tuple(output.shape)}", where=self.path,
                             do="Export a program whose outputs have the batch in front")
        check(output)
        if not output.numel():
            raise InputError(f"its output is empty, {tuple(output.shape)}", where=self.path,
                             do="Export a detector that returns a fixed number of rows, the best ones")
        if not bool(output.isfinite().all()):
            raise InputError("its outputs hold NaN or infinite values", where=self.path, do=f"Check {self.flags}range")
        if float((output[:1] - alone).detach().abs().max()) > ALONE * float(output.detach().abs().max()):
            raise InputError("its outputs depend on what else is in the batch", where=self.path,
                             do="Export it in evaluation mode, after module.eval()")
        return images, output
