"""Bringing ImageNet pictures to a network's size, in the ways in which published sets were made."""

from common.errors import InputError

PREPARATIONS = ("squash", "center-crop", "box")
FILTERS = ("box", "lanczos")


def prepare_image(image, side, how):
    """Return (3, side, side) uint8 of a Pillow image in any mode; its Exif rotation is not applied.

    squash: the whole picture by Lanczos's filter, as the original extraction does.  center-crop: the middle square
    first, as EDM's and DMD2's training sets were made.  box: the whole picture by a box filter, as the npz sets were.
    """
    import numpy as np
    from PIL import Image

    image = image.convert("RGB")
    if how == "center-crop":
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        image = image.crop((left, top, left + edge, top + edge))
    kernel = Image.Resampling.BOX if how == "box" else Image.Resampling.LANCZOS
    return np.ascontiguousarray(np.asarray(image.resize((side, side), kernel)).transpose(2, 0, 1))


def decode_image(data, where):
    """Return the Pillow image in an image file's bytes, decoded and converted to RGB (grey, CMYK, palettes, alpha
    dropped).

    Raises InputError naming it when it cannot be decoded to the end.
    """
    import io

    from PIL import Image

    from common.images.decode import image_errors

    with image_errors(where), Image.open(io.BytesIO(data)) as image:
        if image.mode not in ("RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr"):
            raise ValueError(f"pixels of type {image.mode} are not 8-bit colours")
        return image.convert("RGB")


def resize_planes(pixels, side, how="box"):
    """Return uint8 (n, 3, side, side) of pixels (n, 3, S, S): box (for S a multiple of side, S = side * k) or lanczos.

    Raises InputError for the box filter where S is no multiple: it would count some pixels twice.
    """
    import numpy as np
    from PIL import Image

    given = pixels.shape[-1]
    if given == side or len(pixels) == 0:
        return pixels if given == side else np.empty((0, 3, side, side), np.uint8)
    if how == "box" and given % side:
        raise InputError(f"images of {given} pixels cannot be brought to {side} by whole boxes", where="--resize box",
                         do="Use --resize lanczos")
    if how == "box":
        factor = given // side
        boxes = pixels.reshape(len(pixels), 3, side, factor, side, factor).astype(np.uint32).sum(axis=(3, 5))
        return ((boxes + factor**2 // 2) // factor**2).astype(np.uint8)
    out = np.empty((len(pixels), 3, side, side), np.uint8)
    for image, target in zip(pixels, out):
        resized = Image.fromarray(image.transpose(1, 2, 0)).resize((side, side), Image.Resampling.LANCZOS)
        target[:] = np.asarray(resized).transpose(2, 0, 1)
    return out
