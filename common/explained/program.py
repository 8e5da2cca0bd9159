"""Any program as an explained model: TorchScript modules, torch.export programs, DeepLabV3, with objectives of words.

Programs are opened by the readers that run nothing but tensor operators. Opening one runs a trial, so that a program
that cannot be explained is refused at once: values that are not finite, no derivative with respect to the picture, or
pictures that change each other, as a network saved in training mode does.
"""

import torch
import torch.nn.functional as F

from common.errors import InputError
from common.explained.model import Explained
from common.explained.objective import COUNT_SCALE, logit
from common.files import fingerprint
from common.formats.programs import FAILURES, last_line

RANGES = ("signed", "unit", "imagenet")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures in 0..1
TRIAL, SIDE = 3, 64  # pictures of a trial, and their side where nothing says another
ALONE = 1e-3  # of the largest value: how much a picture's output may differ in a batch, which is rounding
GRID = 8  # side of the features that stand for a dense output


class Program(Explained):
    """A program of pictures with objectives on one of its outputs.

    run: function of pictures in the program's range and size -> a tensor, or a dictionary or tuple of them.
    objectives: [Objective].  size: (H, W) of its pictures, None for any: others are resized, bilinear, antialiased.
    value_range: signed (-1 to 1), unit (0 to 1) or imagenet (normalised).  output: key or number of the output, None
    for the first.
    """

    def __init__(self, run, path, kind, objectives, size=None, value_range="signed", output=None, trial_size=None):
        self.run, self.path, self.objectives, self.output = run, path, list(objectives), output
        self.names, self.value_range, self.resized = tuple(each.word for each in objectives), value_range, size
        self.description = {"kind": kind, "objectives": list(self.names), "output": output, "range": value_range,
                            **fingerprint(path)}
        self._try(trial_size or size or (SIDE, SIDE))

    def outputs(self, images):
        """Return the chosen output of images (B, 3, H, W) in [-1, 1]."""
        if self.resized is not None and tuple(images.shape[2:]) != tuple(self.resized):
            images = F.interpolate(images, size=tuple(self.resized), mode="bilinear", antialias=True)
        if self.value_range != "signed":
            images = (images + 1) / 2
        if self.value_range == "imagenet":
            mean, deviation = (images.new_tensor(each)[:, None, None] for each in (MEAN, DEVIATION))
            images = (images - mean) / deviation
        return self._chosen(self.run(images))

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
            raise InputError(f"its output is a {type(value).__name__}, no tensor", where=self.path,
                             do="Choose another with --output, or export a wrapper that returns tensors")
        return value

    def _no_output(self, keys):
        return InputError("the program has no such output", where=f"--output {self.output}",
                          do=f"It returns {', '.join(keys)}")

    def values(self, images):
        """See Explained."""
        output = self.outputs(images)
        return torch.stack([each.value(output) for each in self.objectives], dim=1)

    def scores(self, values):
        """Return shares and confidences as they are searched, probabilities of logits, of values (B, A)."""
        columns = []
        for place, each in enumerate(self.objectives):
            value = values[:, place]
            if each.kind == "count":
                columns.append(value / COUNT_SCALE + each.threshold)
            else:
                shift = 0.0 if each.kind in ("attribute", "class") else logit(each.threshold)
                columns.append((value + shift).sigmoid())
        return torch.stack(columns, dim=1)

    @torch.no_grad()
    def decided(self, images):
        """See Explained: of a segmentation the largest class of each pixel counts, of detections those above 1/2."""
        output = self.outputs(images)
        return torch.stack([each.decided(output) for each in self.objectives], dim=1)

    def features(self, images):
        """Return the output itself (B, F): numbers as they are, dense ones pooled to an 8 x 8 grid."""
        output = self.outputs(images)
        if output.dim() == 4:
            output = F.adaptive_avg_pool2d(output, min(GRID, *output.shape[2:]))
        return output.flatten(1)

    def _try(self, size):
        """Run a trial; raise InputError for a program that cannot be explained."""
        generator = torch.Generator().manual_seed(0)
        images = (torch.rand(TRIAL, 3, *size, generator=generator) * 1.6 - 0.8).requires_grad_()
        try:
            output = self.outputs(images)
            alone = self.outputs(images[:1].detach())
        except FAILURES as error:
            raise InputError(f"it fails on pictures of {size[0]} x {size[1]} ({last_line(error)})", where=self.path,
                             do="Give its size with --size H W") from error
        if output.shape[0] != TRIAL:
            raise InputError(f"{TRIAL} pictures give an output of {tuple(output.shape)}", where=self.path,
                             do="Export a program whose outputs have the batch in front")
        for each in self.objectives:
            each.check(output, self.path)
        if not output.numel():
            raise InputError(f"its output is empty, {tuple(output.shape)}", where=self.path,
                             do="Export a detector that returns a fixed number of rows, the best ones")
        if not bool(output.isfinite().all()):
            raise InputError("its outputs hold NaN or infinite values", where=self.path, do="Check --range")
        if float((output[:1] - alone).detach().abs().max()) > ALONE * float(output.detach().abs().max()):
            raise InputError("its outputs depend on what else is in the batch", where=self.path,
                             do="Export it in evaluation mode, after module.eval()")
        self._check_derivative(images, output)

    def _check_derivative(self, images, output):
        values = torch.stack([each.value(output) for each in self.objectives])
        gradient = None
        if values.requires_grad:
            each = torch.arange(1.0, len(values) + 1, device=values.device)[:, None]  # no two objectives cancel out
            gradient, = torch.autograd.grad((each * values).sum(), images, allow_unused=True)
        if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.abs().max() > 0):
            what = "is not finite" if gradient is not None and not bool(gradient.isfinite().all()) else "is none"
            raise InputError(f"its derivative with respect to the picture {what}", where=self.path,
                             do="Export it without optimize_for_inference, freezing or torch.no_grad, and with scores "
                             "rather than decisions as outputs")
