"""How BlobGAN, its encoder and everything that looks at its images bring a picture to the network's size.

One rule for all of them (T38: an encoder that sees another crop than the generator made is worthless): a square is the
shorter edge resized and the middle cut out, another shape is resized to exactly (S, r S), proportions or not, both with
Lanczos, as the published files were trained. It is stored in each checkpoint as a plain dictionary and compared.
"""

from dataclasses import dataclass

from common.errors import InputError

FITS = ("squash", "cover")
FILTERS = ("lanczos", "bicubic")  # bicubic: of published decision models
LONGEST = 16  # times the shorter side: longer pictures are cut before they are resized, which would take gigabytes


@dataclass(frozen=True)
class SquashOrCrop:
    """Brings a Pillow image to (height, width): squash resizes to exactly that, cover resizes in proportion until it is
    just covered and cuts out the middle. Squares are always covered. kernel: one of FILTERS."""

    height: int
    width: int
    fit: str = "squash"
    kernel: str = "lanczos"

    @property
    def size(self):
        """(H, W) of the result."""
        return self.height, self.width

    @property
    def rule(self):
        """squash or cover: which of the two it comes to."""
        return "cover" if self.height == self.width else self.fit

    def __call__(self, image):
        """Return a Pillow image resized and cut; one that has the size already comes back unchanged."""
        from PIL import Image

        (height, width), kernel = self.size, Image.Resampling[self.kernel.upper()]
        if (image.height, image.width) == self.size:
            return image
        if self.rule == "squash":
            return image.resize((width, height), kernel)
        image = _shortened(image, self.size)
        tall, wide = covering((image.height, image.width), self.size)
        image = image.resize((wide, tall), kernel)
        left, top = int(round((wide - width) / 2)), int(round((tall - height) / 2))
        return image.crop((left, top, left + width, top + height))

    def describe(self):
        """Return the rule as plain values for a checkpoint or a record."""
        return {"height": self.height, "width": self.width, "fit": self.rule, "filter": self.kernel}


def for_network(resolution, aspect_ratio=1, fit="squash"):
    """Return the SquashOrCrop of a network whose images are `resolution` high and aspect_ratio times as wide."""
    return SquashOrCrop(resolution, round(aspect_ratio * resolution), fit)


def from_description(stored, where):
    """Return the SquashOrCrop that a checkpoint describes; InputError for values that are none."""
    try:
        rule = SquashOrCrop(int(stored["height"]), int(stored["width"]), str(stored["fit"]), str(stored["filter"]))
    except (KeyError, TypeError, ValueError):
        rule = None
    good = rule is not None and rule.fit in FITS and rule.kernel in FILTERS and min(rule.size) >= 1
    if not good or rule.describe() != stored:
        raise InputError("its description of how images are resized is not one of ours", where=where,
                         do="Restore the file, or make it again")
    return rule


def check_same(description, expected, where, of):
    """Raise InputError naming the first value in which two descriptions differ.

    description: of the file `where`.  expected: of what it is to work with, `of` in words such as "the generator".
    """
    names = [*expected, *(name for name in description if name not in expected)]
    wrong = next((name for name in names if description.get(name) != expected.get(name)), None)
    if wrong is not None:
        raise InputError(f"its images are resized with {wrong} {description.get(wrong)}, those of {of} with "
                         f"{expected.get(wrong)}", where=where, do=f"Use files that were made for {of}")


def covering(own, size):
    """Return the (height, width), in the proportions of `own`, that just covers size (H, W): torchvision's rounding."""
    height, width = size
    if own[0] * width < own[1] * height:
        return height, max(width, int(height * own[1] / own[0]))
    return max(height, int(width * own[0] / own[1])), width


def _shortened(image, size):
    """Return the middle of an image that would be LONGEST times longer than size (H, W) after resizing."""
    tall, wide = covering((image.height, image.width), size)
    if tall <= LONGEST * size[0] and wide <= LONGEST * size[1]:
        return image
    height = min(image.height, max(1, round(image.width * size[0] / size[1])))
    width = min(image.width, max(1, round(image.height * size[1] / size[0])))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
