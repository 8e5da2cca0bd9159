"""Generators that map codes z ~ N(0, 1) to images: what TorchScript modules and torch.export programs have in common.

The codes are drawn on the CPU, each from (seed, i). A program that draws noise of its own, as StyleGAN's do, is run one
image at a time, seeded from (seed, i). One whose images depend on each other, as in training mode, is refused.
"""

import torch

from common.errors import InputError, Parameter
from common.formats.programs import FAILURES, last_line
from common.generators import Generator
from common.seeding import unit_generator, unit_seed

RANGES = {"signed": (-1.0, 1.0), "unit": (0.0, 1.0), "bytes": (0.0, 255.0)}
TRIAL = 4  # images made when a program is opened


class LatentGenerator(Generator):
    """A program from codes to images in a declared range."""

    def __init__(self, kind, path, program, z_shape, output_range, device, labels=None):
        """program: a function of codes (n, *z_shape) on `device`.  output_range: one of RANGES, None for signed
        where the first images do not contradict.  labels: a ClassLabels that the program takes as well."""
        assumed, output_range = output_range is None, output_range or "signed"
        if output_range not in RANGES:
            raise InputError("unknown range", where=Parameter("output_range", output_range),
                             do=f"Use {', '.join(RANGES)}")
        self.path, self.program, self.z_shape, self.device = path, program, tuple(z_shape), torch.device(device)
        self.low, self.high = RANGES[output_range]
        self.labels = labels
        trial = self._run(range(TRIAL), seed=0)
        if not bool(trial.isfinite().flatten(1).all(1).any()):
            raise InputError("its images hold NaN or infinite values", where=path,
                             do="Give a module that returns finite images")
        self._check_range(trial, output_range, assumed)
        self.shape = trial.shape[1:]
        self.one_by_one = self._differ(trial, self._run(range(TRIAL), seed=1, code_seed=0), 0.02)
        if not self.one_by_one and self._differ(trial[-1:], self._run([TRIAL - 1], seed=0), 0.5):  # more than rounding
            raise InputError("its images depend on what else is in their batch", where=path,
                             do="Save the module in evaluation mode, after module.eval()")
        super().__init__(kind, path, tuple(self.shape[1:]), z_shape=list(self.z_shape), output_range=output_range,
                         one_by_one=self.one_by_one, **(labels.description if labels else {}))

    def generate(self, indices, seed):
        """See Generator. Raises InputError when the program fails, or returns what is not an image of the first ones'
        shape.

        Images that are not finite come as they are: such images do occur, and whoever scores them counts them.
        """
        groups = [[index] for index in indices] if self.one_by_one else [indices]
        images = torch.cat([self._run(group, seed) for group in groups])
        if images.shape[1:] != self.shape:
            raise InputError(f"images of {tuple(images.shape[1:])} after others of {tuple(self.shape)}",
                             where=self.path,
                             do="Give a module whose images have one size")
        return ((images - self.low) * (255 / (self.high - self.low))).clamp(0, 255)

    def _run(self, indices, seed, code_seed=None):
        """Return the program's images (n, C, H, W) float32 in its own range; its random draws come from the seed."""
        code_seed = seed if code_seed is None else code_seed
        codes = draw_codes(indices, code_seed, self.z_shape).to(self.device)
        labels = [self.labels.draw(indices, code_seed).to(self.device)] if self.labels else []
        try:
            images = seeded(self.program, codes, unit_seed(seed, "program", int(indices[0])), *labels)
        except torch.OutOfMemoryError as error:
            raise InputError(f"{len(codes)} images at once do not fit into the device's memory", where=self.path,
                             do="Pass a smaller `batch_size`") from error
        except FAILURES as error:
            raise InputError(f"the program fails on codes of shape {tuple(codes.shape)}: {last_line(error)}",
                             where=self.path,
                             do="Give a module from z to images, or another `z_dim`") from error
        problem = why_no_images(images, len(codes))
        if problem:
            raise InputError(problem, where=self.path,
                             do="Give a module that returns images (batch, 3 or 1, height, width)")
        return images.float()

    def _differ(self, images, others, grey_levels):
        """True when images differ somewhere by more than so many of their range's 255 grey levels."""
        return float((images - others).nan_to_num(0.0).abs().max()) > grey_levels * (self.high - self.low) / 255

    def _check_range(self, images, name, assumed):
        """Raise InputError when the images clearly have another range than declared: far values, or a third outside.

        A generator's values overshoot its range by some, so that little outside is not an error.
        """
        width = self.high - self.low
        images = images[images.isfinite()]
        lowest, highest = float(images.min()), float(images.max())
        outside = ((images < self.low - 0.05 * width) | (images > self.high + 0.05 * width)).float().mean()
        far = max(self.low - lowest, highest - self.high) > 5 * width
        unused = name == "bytes" and lowest >= -2 and highest <= 2  # such images would be black
        half = assumed and lowest >= 0  # a signed generator has dark pixels in some of its first images
        if far or unused or half or float(outside) > 1 / 3:
            others = " or ".join(other for other in RANGES if other != name or half)
            raise InputError(f"its values run from {lowest:.4g} to {highest:.4g}, not from {self.low:g} to "
                             f"{self.high:g}", where=self.path,
                             do=f"Pass `output_range` {others}")


def draw_codes(indices, seed, z_shape):
    """Return codes z ~ N(0, 1) (n, *z_shape) float32 on the CPU, each from (seed, i)."""
    return torch.stack([torch.randn(z_shape, generator=unit_generator(seed, "z", int(index))) for index in indices])


class ClassLabels:
    """The class of each image: drawn evenly from (seed, i), or one class for all.

    one_hot: float32 (n, num_classes), as EDM's and StyleGAN's networks take them; else int64 (n,).
    """

    def __init__(self, num_classes, class_label=None, one_hot=True):
        if class_label is not None and not 0 <= class_label < num_classes:
            raise InputError(f"expected a class from 0 to {num_classes - 1}",
                             where=Parameter("class_label", class_label), do="Correct the value")
        self.num_classes, self.class_label, self.one_hot = num_classes, class_label, one_hot
        self.description = {"num_classes": num_classes, "class_label": class_label, "one_hot": one_hot}

    def numbers(self, indices, seed):
        """Return the class of each of these images, whole numbers."""
        if self.class_label is not None:
            return [self.class_label] * len(indices)
        return [int(torch.randint(self.num_classes, (), generator=unit_generator(seed, "class", int(index))))
                for index in indices]

    def draw(self, indices, seed):
        """Return the labels of these images on the CPU."""
        labels = torch.tensor(self.numbers(indices, seed))
        return torch.nn.functional.one_hot(labels, self.num_classes).float() if self.one_hot else labels


@torch.no_grad()
def seeded(program, codes, seed, *more):
    """Return program(codes, *more) with torch's generators seeded for it and left as they were."""
    with torch.random.fork_rng(devices=[codes.device] if codes.is_cuda else []):
        torch.manual_seed(seed)
        return program(codes, *more)


def why_no_images(images, count):
    """Return what is wrong with a program's answer to `count` codes, or None when it is `count` images."""
    if not isinstance(images, torch.Tensor):
        return f"it returns a value of type {type(images).__name__}, expected one tensor"
    if images.dim() != 4 or images.shape[1] not in (1, 3) or images.is_complex():
        return f"it returns shape {tuple(images.shape)}, expected ({count}, 3 or 1, height, width)"
    if len(images) != count:
        return f"it returns {len(images)} images for {count} codes"
    return None
