"""Resize ImageNet images to a network's input size, in the ways that published sets were made."""

from common.errors import InputError

PREPARATIONS = ("squash", "center-crop", "box")
FILTERS = ("box", "lanczos")


def prepare_image(image, side, how):
    """Return (3, side, side) uint8 of a Pillow image in any mode; its Exif rotation is not applied.

    squash: the whole image by a Lanczos filter, as in the original extraction.  center-crop: crop to a square first,
    as EDM's and DMD2's training sets were made.  box: the whole image by a box filter, as the npz sets were.
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
    """Return the RGB Pillow image in an image file's bytes (from grey, CMYK and palettes too; alpha dropped).

    Raises InputError naming the image when it cannot be fully decoded.
    """
    import io

    from common.images.decode import image_errors, open_pillow

    with image_errors(where, data), open_pillow(io.BytesIO(data)) as image:
        if image.mode not in ("RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr"):
            raise ValueError(f"pixels of type {image.mode} are not 8-bit colours")
        return image.convert("RGB")


def resize_planes(pixels, side, how="box"):
    """Return uint8 (n, 3, side, side) of pixels (n, 3, S, S): box (for S a multiple of side, S = side * k) or lanczos.

    Raises InputError for the box filter where S is not a multiple: boxes would share pixels.
    """
    import numpy as np
    from PIL import Image

    size = pixels.shape[-1]
    if size == side or len(pixels) == 0:
        return pixels if size == side else np.empty((0, 3, side, side), np.uint8)
    if how == "box" and size % side:
        raise InputError(f"box resizing needs a multiple of {side} pixels, the images have {size}",
                         where="--resize box", do="Use --resize lanczos")
    if how == "box":
        factor = size // side
        boxes = pixels.reshape(len(pixels), 3, side, factor, side, factor).astype(np.uint32).sum(axis=(3, 5))
        return ((boxes + factor**2 // 2) // factor**2).astype(np.uint8)  # integers: rounds half up on every platform
    out = np.empty((len(pixels), 3, side, side), np.uint8)
    for image, target in zip(pixels, out):
        resized = Image.fromarray(image.transpose(1, 2, 0)).resize((side, side), Image.Resampling.LANCZOS)
        target[:] = np.asarray(resized).transpose(2, 0, 1)
    return out
