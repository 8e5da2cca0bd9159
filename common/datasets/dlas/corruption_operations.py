"""The named image corruptions of DL-Art-School configurations, each a function (image, strength, context) -> image.

Images are (H, W, 3) float32 in 0..1 and are never modified; strength is in 0..1, 0 the mildest. Where the original
does nothing, fails or shifts the mean, `Context.compat` selects its behaviour (see docs/datasets.md).
"""

import io
import math
from dataclasses import dataclass

import cv2
import numpy as np

JPEG_QUALITY = {"jpeg": (10, 20), "jpeg-low": (15, 10), "jpeg-medium": (23, 25), "jpeg-broad": (15, 60),
                "jpeg-normal": (47, 35)}  # (lowest, range), the original's
RESAMPLING = (cv2.INTER_NEAREST, cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_LANCZOS4)
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma


@dataclass
class Context:
    """What an operation depends on beside image and strength.

    name: the name as written in the options.  applied: all names applied to this image.  draws: see dlas.draws.
    """

    name: str
    applied: tuple
    draws: object
    blur_scale: float = 1.0

    @property
    def compat(self):
        """True for the original's arithmetic, with its bias."""
        return self.draws.compat


def quantise_colors(image, strength, context):
    """Round each value down to a multiple of 4 (mild) to 32 of 255."""
    step = 2 ** (int(strength * 10 / 3) + 2)
    return (image * 255) // step * step / 255


def jitter_colors(image, strength, context):
    """Change brightness, contrast, saturation and hue by up to a fifth, in random order."""
    return color_jitter(image, 0.2 * strength, context.draws)


def blur_gaussian(image, strength, context):
    """Blur with sigma 1.5 strength x blur scale; nothing at 0, where the original fails."""
    sigma = context.blur_scale * 1.5 * strength
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0 else image


def blur_motion(image, strength, context):
    """Average along a line of 3 strength x blur scale + 1 pixels at a random angle (the original crashes above 0)."""
    angle = context.draws.integer(0, 360)
    kernel = line_kernel(context.blur_scale * 3 * strength + 1, angle)
    return cv2.filter2D(image, -1, kernel) if kernel.size > 1 else image


def mask_block(image, strength, context):
    """Pixelate one square block of up to half the shorter side, like a masked face. No effect in the original."""
    height, width = image.shape[:2]
    side = int(round(strength * min(height, width) / 2))
    if context.compat or side < 2:
        return image
    top, left = context.draws.integer(0, height - side), context.draws.integer(0, width - side)
    block = image[top : top + side, left : left + side]
    cells = max(1, side // 8)
    coarse = cv2.resize(block, (cells, cells), interpolation=cv2.INTER_AREA)
    result = image.copy()
    result[top : top + side, left : left + side] = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_NEAREST)
    return result


def resample(image, strength, context):
    """Shrink by 1 (below .3), 2 (below .7) or 4 (lq_resampling4x: always 4); `Corruptor` enlarges it at the end."""
    factor = resampling_factor(context.name, strength)
    if factor == 1:
        return image
    number = context.draws.integer(0, 4) % 4 if context.compat else context.draws.integer(0, 3)
    # The original passes the index in its list, which OpenCV reads as nearest, linear, cubic, area.
    mode = number if context.compat else RESAMPLING[number]
    height, width = image.shape[:2]
    return cv2.resize(image, (max(width // factor, 1), max(height // factor, 1)), interpolation=mode)


def shift_colors(image, strength, context):
    """Add a constant within +-.1 strength to each channel. No effect in the original."""
    if context.compat:
        return image
    return image + ((context.draws.units((3,)) * 2 - 1) * 0.1 * strength).astype(np.float32)


def interlace(image, strength, context):
    """Shift all odd rows sideways by up to 4 pixels. No effect in the original."""
    shift = int(round(4 * strength))
    if context.compat or shift == 0:
        return image
    shift *= 1 if context.draws.unit() < 0.5 else -1
    columns = np.clip(np.arange(image.shape[1]) + shift, 0, image.shape[1] - 1)
    result = image.copy()
    result[1::2] = image[1::2][:, columns]
    return result


def fringe_colors(image, strength, context):
    """Enlarge red and shrink blue about the centre by up to 2 %, like a simple lens. No effect in the original."""
    if context.compat or strength == 0:
        return image
    height, width = image.shape[:2]
    channels = []
    for channel, zoom in zip(range(3), (1 + 0.02 * strength, 1.0, 1 - 0.02 * strength)):
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, zoom)
        plane = np.ascontiguousarray(image[..., channel])
        moved = cv2.warpAffine(plane, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        channels.append(plane if zoom == 1 else moved)
    return np.stack(channels, axis=2)


def add_noise(image, strength, context):
    """Add uniform noise of width 6 strength / 255 (noise-5: 5 / 255) around 0; the original's starts at 0."""
    width = 5 / 255 if context.name == "noise-5" else 6 * strength / 255
    noise = context.draws.units(image.shape)
    return (image + (noise if context.compat else noise - 0.5) * width).astype(np.float32)


def compress_jpeg(image, strength, context):
    """Compress as JPEG 4:2:0 at the quality of `jpeg_quality`; skipped if noise is applied too."""
    if "noise" in context.applied or "noise-5" in context.applied:
        return image
    from PIL import Image

    # the original does not clip: values above 1 wrap around
    pixels = (image * 255).astype(np.int32) if context.compat else (np.clip(image, 0, 1) * 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=jpeg_quality(context.name, strength),
                                                  optimize=True)
    decoded = cv2.imdecode(np.frombuffer(buffer.getbuffer(), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.float32) / np.float32(255)


def brighten(image, strength, context):
    """Add .3 strength to every value and clip: the original's "saturation"."""
    return np.clip(image + np.float32(0.3 * strength), 0, 1)


def make_grey(image, strength, context):
    """Replace the channels by their mean."""
    return np.repeat(image.mean(axis=2, keepdims=True, dtype=np.float32), 3, axis=2)


def leave(image, strength, context):
    """Change nothing."""
    return image


# The first whose key is contained in a name applies: color_jitter before noise, block_noise before noise, and so on.
OPERATIONS = {
    "color_quantization": quantise_colors, "color_jitter": jitter_colors, "gaussian_blur": blur_gaussian,
    "motion_blur": blur_motion, "block_noise": mask_block, "lq_resampling": resample, "color_shift": shift_colors,
    "interlacing": interlace, "chromatic_aberration": fringe_colors, "noise": add_noise, "jpeg": compress_jpeg,
    "saturation": brighten, "greyscale": make_grey, "none": leave,
}
NAMES = tuple(sorted({*OPERATIONS, *JPEG_QUALITY, "noise-5", "lq_resampling4x"}))


def find_operation(name):
    """Return the function of a corruption's name, or None when there is none (or the kind of JPEG is unknown)."""
    for text, operation in OPERATIONS.items():
        if text in name:
            return None if operation is compress_jpeg and name not in JPEG_QUALITY else operation
    return None


def resampling_factor(name, strength):
    """Return the factor by which lq_resampling shrinks: 1, 2 or 4."""
    if name == "lq_resampling4x":
        return 4
    return 1 if strength < 0.3 else 2 if strength < 0.7 else 4


def jpeg_quality(name, strength):
    """Return the JPEG quality: the lowest plus (1 - strength) of the range, an integer."""
    lowest, span = JPEG_QUALITY[name]
    return int((1 - strength) * span) + lowest


def line_kernel(length, angle):
    """Return the (S, S) float32 kernel, S odd, sum 1, of a line of `length` pixels (a float from 1) at an angle.

    angle: in degrees. Points are splatted on the four pixels around them, so the blur grows smoothly with the length.
    """
    reach = max(length - 1, 0) / 2
    half = math.ceil(reach)
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    for step in np.linspace(-reach, reach, 8 * half + 1):
        x, y = half + step * math.cos(math.radians(angle)), half - step * math.sin(math.radians(angle))
        left, top = min(int(x), 2 * half), min(int(y), 2 * half)
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (1 - abs(y - top - row)) * (1 - abs(x - left - column))
            if weight > 0 and top + row <= 2 * half and left + column <= 2 * half:
                kernel[top + row, left + column] += weight
    return (kernel / kernel.sum()).astype(np.float32)


def color_jitter(image, amount, draws):
    """Return the image with brightness, contrast, saturation and hue changed in random order, clipped to 0..1.

    The first three are scaled by a factor of 1 +- amount (from black, the mean grey, the grey image), hue is rotated by
    +- amount of the circle (at most half). An amount of 1/255 or less changes nothing.
    """
    if amount * 255 <= 1:
        return image
    steps = draws.order(4)
    factors = [draws.span(max(0.0, 1 - amount), 1 + amount) for _ in range(3)]
    rotation = draws.span(-min(amount, 0.5), min(amount, 0.5))
    for step in steps:
        if step == 3:
            image = rotate_hue(image, rotation)
            continue
        grey = (image @ GREY)[..., None]
        towards = (np.float32(0), grey.mean(dtype=np.float32), grey)[step]
        image = np.clip(towards + (image - towards) * np.float32(factors[step]), 0, 1)
    return image


def rotate_hue(image, rotation):
    """Return an RGB float32 image with its hue rotated by `rotation` of the circle."""
    hsv = cv2.cvtColor(np.clip(image, 0, 1), cv2.COLOR_RGB2HSV)  # hue in degrees for float images
    hsv[..., 0] = (hsv[..., 0] + 360 * rotation) % 360
    return np.clip(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), 0, 1)
