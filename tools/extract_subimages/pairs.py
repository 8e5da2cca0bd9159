"""Mode pair: the same windows from a photo and its smaller versions, which are given or made here."""

import hashlib
import math

from common.images.imresize import imresize
from common.images.photos import SkippedPhoto
from common.images.pixels import to_bytes
from tools.extract_subimages.flat import about_of, decoded, write_windows
from tools.extract_subimages.tiling import tile_windows


def extract_pair(options, unit):
    """Write a photo's tiles below HR and those of its smaller versions below LR, same names; raises SkippedPhoto."""
    if unit.partner is None and not options.make_lr:
        raise SkippedPhoto("no partner", f"no photo of this name in {options.pair_folder}")
    data, photo = decoded(options, unit.source)
    high, lows, about = (_made if options.make_lr else _given)(options, unit, photo.pixels)
    size, crop = high.shape[:2], options.crop_sz[0]
    if min(size) < options.min_size:
        raise SkippedPhoto("too small", f"{size[0]}x{size[1]}, the smaller side must be at least {options.min_size}")
    origins = tile_windows(size, crop, options.step[0], options.thres_sz)
    if not origins:
        raise SkippedPhoto("no tile", f"{size[0]}x{size[1]} is smaller than the window of {crop}")
    if size != photo.pixels.shape[:2]:
        about["cut_to"] = list(size)
    parts = [(high, _windows("HR", options, unit, origins, 1))]
    parts += [(low, _windows(folder, options, unit, origins, scale)) for folder, scale, low in lows]
    return write_windows(options, unit, parts, {**about_of(unit.source, data, photo), **about})


def _windows(folder, options, unit, origins, scale):
    """Return [(file, top, left, side, stored side)] of one resolution."""
    side = options.crop_sz[0] // scale
    return [(f"{folder}/{unit.stem}_s{number:03d}.{options.format}", top // scale, left // scale, side, side)
            for number, (top, left) in enumerate(origins, 1)]


def _given(options, unit, pixels):
    """Return (pixels, [(folder, scale, low pixels)], what to record) of a photo and its partner, cut to fit."""
    scale = options.pair_scale
    data, partner = decoded(options, unit.partner)
    size, small = pixels.shape[:2], partner.pixels.shape[:2]
    about = {"partner": unit.partner.path, "scale": scale, "partner_sha256": hashlib.sha256(data).hexdigest()}
    if size == (small[0] * scale, small[1] * scale):
        return pixels, [("LR", scale, partner.pixels)], about
    # the makers of small versions round either way
    near = all(low in (high // scale, -(-high // scale)) for high, low in zip(size, small))
    if not (options.mod_crop and near):
        advice = ", --mod_crop cuts them" if near else ""
        raise SkippedPhoto("sizes do not fit",
                           f"{size[0]}x{size[1]} is not {scale} times {small[0]}x{small[1]}{advice}")
    height, width = (min(low, high // scale) for high, low in zip(size, small))
    return pixels[: height * scale, : width * scale], [("LR", scale, partner.pixels[:height, :width])], about


def _made(options, unit, pixels):
    """Return (pixels, [(folder, scale, low pixels)], what to record): cut to a multiple of all scales, then shrunk."""
    multiple = math.lcm(*options.make_lr)
    height, width = (side // multiple * multiple for side in pixels.shape[:2])
    if not height or not width:
        raise SkippedPhoto("too small", f"{pixels.shape[0]}x{pixels.shape[1]} holds no multiple of {multiple} pixels")
    pixels = pixels[:height, :width]
    lows = [(f"LR/X{scale}", scale, to_bytes(imresize(pixels, 1 / scale))) for scale in options.make_lr]
    return pixels, lows, {"scales": options.make_lr}
