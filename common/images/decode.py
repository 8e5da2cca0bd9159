"""Decode the bytes of an image file to uint8 pixels of a given size (Pillow)."""

import io
import os
import re
import warnings
from contextlib import contextmanager
from typing import NamedTuple

from common.errors import InputError
from common.files import open_regular
from common.images.bounds import PILLOW_ERRORS, check_claims
from common.images.pam import is_pam, pam_image
from common.images.tiff import with_colours


def decode(data, where, size=None):
    """Return the image in `data` (bytes of a file) as (H, W, 3) uint8.

    where: its name in messages.  size: (H, W) to resize and crop to (`fit`), a rule such as squash.SquashOrCrop, or
    None for its own.
    Grey becomes RGB, alpha is dropped, 16-bit grey keeps its upper 8 bits, as Pillow does for 16-bit RGB.
    Exif rotation is not applied, as in the published preparations of data sets.
    Raises InputError naming the image when it cannot be decoded.
    """
    import numpy as np

    with image_errors(where, data), open_pillow(io.BytesIO(data)) as image:
        image = eight_bits(image).convert("RGB")
        return np.asarray(image if size is None else fit(image, size))


def open_pillow(source):
    """Return the open Pillow image of a path or binary stream; of a PAM, which Pillow does not know, its pixels."""
    from PIL import Image

    if isinstance(source, (str, os.PathLike)):
        with open_regular(source) as stream:
            data = stream.read(3)
            data += stream.read() if is_pam(data) else b""
    else:
        place, data = source.tell(), source.read(3)
        data += source.read() if is_pam(data) else b""
        source.seek(place)
    return pam_image(data) if is_pam(data) else Image.open(source)


def eight_bits(image):
    """Return an open Pillow image as one of 8 bits a sample: of 16-bit grey, by its header's depth, the upper ones.

    Raises ValueError for pixels of another kind, and for those that Pillow takes for what they are not.
    """
    import numpy as np
    from PIL import Image

    tags = getattr(image, "tag_v2", {})  # of TIFF: depths, photometric interpretation, planes, formats of samples
    depth = tags.get(258, (16,))[0]
    if tags.get(254, 0) & 1 and getattr(image, "n_frames", 1) > 1:
        raise ValueError("the first page is a smaller copy of another")
    if tags.get(339, (1,))[0] != 1 or (tags.get(284) == 2 and depth == 16 and image.mode != "I;16"):
        raise ValueError("samples of another kind than whole numbers, or of 16 bits in separate planes")
    if image.mode == "La":
        return image.convert("LA")
    if image.mode.startswith("I;16"):
        upper = (np.asarray(image) >> (depth - 8)).astype(np.uint8)
        return Image.fromarray(255 - upper if tags.get(262) == 0 else upper)
    if image.mode == "I" and image.format == "PPM":  # which Pillow has brought to 0..65535
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of type {image.mode} are not 8-bit colours")
    return with_colours(image)


class Header(NamedTuple):
    """What the header of an image file says; deep: 16 bits a sample; animated: of several frames or pages; turned: its
    Exif block says that it is to be shown turned or mirrored."""

    height: int
    width: int
    grey: bool
    alpha: bool
    deep: bool
    animated: bool
    turned: bool = False

    def changes(self, size, channels, squashed=False):
        """Return what reading does to the image, as a list of words: size (H, W) and channels are those wanted.

        squashed: it is resized to that size whatever its proportions.
        """
        covering = tuple(size) if squashed else _covering((self.height, self.width), size)
        happens = {"resized": covering != (self.height, self.width), "cut at the edges": covering != tuple(size),
                   "grey made RGB": self.grey and channels == 3, "colour made grey": not self.grey and channels == 1,
                   "alpha dropped": self.alpha, "16 bits cut to 8": self.deep, "first frame taken": self.animated,
                   "not turned as Exif says": self.turned}
        return [words for words, does in happens.items() if does]


def read_header(stream, where):
    """Return the Header of an image file open as a binary stream; InputError when it has none."""
    with image_errors(where), open_pillow(stream) as image:
        grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
        grey = grey or _is_grey_palette(image)
        alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
        tiles = str([tile[3:] for tile in getattr(image, "tile", ())])
        deep = image.mode in ("I", "I;16", "I;16B", "I;16L") or "16" in tiles or image.info.get("maxval", 0) > 255
        return Header(image.height, image.width, grey, alpha, deep, getattr(image, "is_animated", False),
                      _is_turned(image))


def _is_turned(image):
    """Return whether an open image's Exif block asks for a turn that reading leaves out; Pillow turns TIFF itself.

    A PNG's block behind its pixels is not looked for: that would decode them.
    """
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return False
    try:
        return image.getexif().get(0x0112, 1) in range(2, 9)
    except PILLOW_ERRORS:  # a damaged block; the pixels may be whole
        return False


def fit(image, size):
    """Return a Pillow image resized until it just covers size (H, W), then center-cropped.

    Bicubic, antialiased when shrinking. Smaller images are enlarged. size may be a rule instead, a function of the
    image.
    """
    from PIL import Image

    if callable(size):
        return size(image)
    height, width = size
    if (image.height, image.width) == (height, width):
        return image
    covering = _covering((image.height, image.width), size)
    image = image.resize(covering[::-1], Image.Resampling.BICUBIC)
    left, top = (covering[1] - width) // 2, (covering[0] - height) // 2
    return image.crop((left, top, left + width, top + height))


def _is_grey_palette(image):
    """Return whether all colours of an image's palette are grey, as those of a grey GIF."""
    colours = image.getpalette() if image.mode == "P" else None
    return bool(colours) and colours[::3] == colours[1::3] == colours[2::3]


def _covering(own, size):
    """Return the size (H, W), in the proportions of `own`, that just covers `size`."""
    scale = max(size[0] / own[0], size[1] / own[1])
    return max(size[0], round(own[0] * scale)), max(size[1], round(own[1] * scale))


def to_grey(pixels):
    """Return uint8 images (..., 3) as (..., 1): the luma of ITU-R BT.601 in whole numbers, as Pillow computes it; grey
    ones come back unchanged."""
    import numpy as np

    weights = np.array([19595, 38470, 7471], np.uint32)  # of 65,536
    return ((pixels.astype(np.uint32) @ weights + 0x8000) >> 16).astype(np.uint8)[..., None]


def fit_array(pixels, size):
    """Return (H, W, C) uint8 pixels, C = 1 or 3, resized and cropped as `fit` does."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    fitted = np.asarray(fit(image, size))
    return fitted.reshape(*fitted.shape[:2], pixels.shape[-1])


@contextmanager
def image_errors(where, data=b""):
    """Turn what Pillow raises for an invalid image file into an InputError about `where`, and hide its warnings.

    data: the file's bytes where all of it is to be decoded; they may not claim more than they can hold.
    """
    from PIL import Image

    try:
        check_claims(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        reason = re.sub(r" <[^<>]* at 0x\w+>", "", str(error))  # an object's address, another one in each run
        raise InputError(f"not a readable image ({reason})", where=where, do="Restore or remove this file") from error
