"""The geometry of a chunked data set: windows, centres, and what is done to a photo before it is cut.

Integers in, integers out, no images: the extractor cuts by these rules, and so do readers of the virtual layout. The
rules are those of DL-Art-School's extractor; where it is wrong, `original=True` reproduces it. Sizes are (height,
width), all in pixels of the upright photo after a possible halving.
"""

from typing import NamedTuple


class TileRecord(NamedTuple):
    """One tile: its window in the square, and its centre and width in pixels of the reference."""

    id: int
    scale: int  # position in the list of crop sizes
    top: int
    left: int
    crop: int  # side of the window
    size: int  # side of the tile that is stored
    row: int
    col: int
    width: int


class PhotoFrame(NamedTuple):
    """The part of a photo that is cut into tiles and shown in the reference."""

    side: str  # "left" (also for photos that are not split) or "right"
    top: int
    left: int
    height: int
    width: int


class ReferencePlan(NamedTuple):
    """How a frame is shown in the reference: pixel = (offset + frame pixel) / factor."""

    side: int  # height and width of the reference
    factor: float
    top: int  # letterbox rows above the picture, 0 for a square frame
    left: int
    height: int  # size of the picture inside
    width: int


def tile_starts(length, crop, step, threshold):
    """Return where windows of `crop` pixels start on an axis of `length` pixels; [] when the window is longer.

    Every `step` pixels from 0, plus one flush with the end if more than `threshold` pixels would remain.
    """
    if crop > length:
        return []
    starts = list(range(0, length - crop + 1, step))
    if length - (starts[-1] + crop) > threshold:
        starts.append(length - crop)
    return starts


def tile_windows(side, crop, step, threshold):
    """Return [(top, left)] of the windows of a square of `side` pixels (or of a (height, width)), rows outer."""
    height, width = side if isinstance(side, (tuple, list)) else (side, side)
    lefts = tile_starts(width, crop, step, threshold)
    return [(top, left) for top in tile_starts(height, crop, step, threshold) for left in lefts]


def reference_side(crop_sz, resize_final_img):
    """Return the side of the reference: the stored size of a tile of the first scale."""
    return int(crop_sz[0] * resize_final_img[0])


def reference_of(height, width, side, original=False):
    """Return how a frame is shown in a reference of `side` pixels.

    A square fills it. Any other frame is letterboxed; the original squeezes it instead and uses the factor of the rows
    for both axes.
    """
    if height == width or original:
        return ReferencePlan(side, height / side, 0, 0, side, side)
    factor = max(height, width) / side
    inner = max(1, int(height / factor)), max(1, int(width / factor))
    return ReferencePlan(side, factor, (side - inner[0]) // 2, (side - inner[1]) // 2, *inner)


def tile_centre(top, left, crop, reference):
    """Return (row, col, width) of a window in pixels of the reference, rounded down.

    Floor division, as the original: 502 // 6.275 is 79, while 502 / 6.275 rounds to 80.0.
    """
    row, col = (int((start + crop // 2) // reference.factor) for start in (top, left))
    return reference.top + row, reference.left + col, int(crop // reference.factor)


def tile_records(side, crop_sz, step, thres_sz, resize_final_img, *, first_id=1, only_resize=False, skip=(),
                 original=False):
    """Return the TileRecords of a square of `side` pixels (or of a (height, width)) in the order of their ids.

    crop_sz, step, resize_final_img: one value for each scale; the shortest list decides, as zip does in the original.
    thres_sz: one value for all.  skip: positions of scales to omit.  Tiles are ordered by scale, then row by row.
    only_resize: one tile per scale instead, the whole square.
    """
    height, width = side if isinstance(side, (tuple, list)) else (side, side)
    reference = reference_of(height, width, reference_side(crop_sz, resize_final_img), original)
    records = []
    for scale, (crop, stride, factor) in enumerate(zip(crop_sz, step, resize_final_img)):
        if scale in skip:
            continue
        size = int(crop * factor)
        if only_resize:
            middle = reference.side // 2
            records.append(TileRecord(first_id + len(records), scale, 0, 0, min(height, width), size,
                                      middle, middle, reference.side))
            continue
        rows = [(top, tile_centre(top, 0, crop, reference)[0]) for top in tile_starts(height, crop, stride, thres_sz)]
        columns = [(left, tile_centre(0, left, crop, reference)[1])
                   for left in tile_starts(width, crop, stride, thres_sz)]
        across = tile_centre(0, 0, crop, reference)[2]
        for top, row in rows:
            for left, column in columns:
                records.append(TileRecord(first_id + len(records), scale, top, left, crop, size, row, column, across))
    return records


def halved_size(height, width, limit):
    """Return (height, width, halved): both sides halved once, rounded down, if the larger exceeds `limit`."""
    if max(height, width) > limit:
        return height // 2, width // 2, True
    return height, width, False


def frames_of(height, width, vertical_split=False, square="center", original=False):
    """Return the PhotoFrames of a photo: one, or two if it is split in the middle.

    square: "center" takes the centred square, "none" the full photo. The halves of a stereo pair lose their outer
    columns, so that both show the same rows. If half the width is less than the height, the original takes frames that
    are not square, with different rows left and right; here both are squares of the same centred rows.
    """
    if not vertical_split:
        if square == "none":
            return [PhotoFrame("left", 0, 0, height, width)]
        side = min(height, width)
        return [PhotoFrame("left", (height - side) // 2, (width - side) // 2, side, side)]
    half = width // 2
    if square == "none":
        return [PhotoFrame("left", 0, 0, height, half), PhotoFrame("right", 0, half, height, width - half)]
    if original:
        side = min(height, width)
        left, right = min(side, half), min(side, width - half)
        return [PhotoFrame("left", height - side, half - left, side, left), PhotoFrame("right", 0, half, side, right)]
    side = min(height, half)
    top = (height - side) // 2
    return [PhotoFrame("left", top, half - side, side, side), PhotoFrame("right", top, half, side, side)]


def mask_region(record, side, mask_shape, original_reference=None):
    """Return (top, bottom, left, right) of a tile's region in a mask of the square; bottom and right exclusive.

    side: (height, width) of the square.  original_reference: the ReferencePlan, for the original's rule, which only
    holds for masks of 256 pixels and windows as large as the reference.
    """
    if original_reference is not None:
        scale = 256 / (record.crop * original_reference.factor)
        scales = scale, scale
    else:
        scales = mask_shape[0] / side[0], mask_shape[1] / side[1]
    top, bottom = int(record.top * scales[0]), int((record.top + record.crop) * scales[0])
    left, right = int(record.left * scales[1]), int((record.left + record.crop) * scales[1])
    if original_reference is None:  # at least one pixel, however small the mask
        bottom, right = max(bottom, top + 1), max(right, left + 1)
    return top, bottom, left, right
