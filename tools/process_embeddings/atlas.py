"""Thumbnail atlas: many images in a few sheets of equal cells, as data URIs, of bounded total size."""

import base64
import io
from dataclasses import dataclass, field

import numpy as np

from common.images.bounds import PILLOW_ERRORS

SIZES = (64, 48, 32, 24, 16)  # cell sizes in pixels; the largest within the size limit is used
SHEET = 2048  # largest side of a sheet, which every browser can decode
QUALITY = 84
TRIAL = 128  # images from which the total size is estimated


@dataclass
class Atlas:
    """Sheets of cells: cell c is on sheet c // per_sheet, at row and column divmod(c % per_sheet, columns)."""

    cell: int = 0
    columns: int = 0
    per_sheet: int = 0
    sheets: list = field(default_factory=list)  # data URIs
    unreadable: list = field(default_factory=list)
    place: dict = field(default_factory=dict)  # image path -> cell


def make_atlas(paths, limit_bytes, advance=lambda n: None):
    """Return the Atlas of distinct image files; it takes at most limit_bytes, dropping images if necessary.

    paths: existing image files.  Dropped ones are evenly spaced.  Unreadable images are named in `unreadable`.
    """
    if not paths:
        return Atlas()
    trial = [thumbnail for thumbnail in map(_read, _spread(paths, TRIAL)) if thumbnail is not None]
    if not trial:
        return Atlas(unreadable=[str(path) for path in paths])
    cost = {size: _bytes_per_cell(trial, size) for size in SIZES}
    room = limit_bytes * 0.92  # margin: the trial is an estimate
    size = next((size for size in SIZES if cost[size] * len(paths) <= room), SIZES[-1])
    paths = _spread(paths, int(room / cost[size]))
    atlas = Atlas(size, SHEET // size, (SHEET // size) ** 2)
    cells = []
    for path in paths:
        picture = _read(path)
        advance(1)
        if picture is None:
            atlas.unreadable.append(str(path))
            continue
        atlas.place[path] = len(atlas.sheets) * atlas.per_sheet + len(cells)
        cells.append(_fit(picture, size))
        if len(cells) == atlas.per_sheet:
            atlas.sheets.append(_sheet(cells, size, atlas.columns))
            cells = []
    if cells:
        atlas.sheets.append(_sheet(cells, size, atlas.columns))
    return atlas


def _spread(items, count):
    """Return at most `count` of the items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, count).astype(int)] if count > 0 else []


def _read(path):
    """Return a PIL RGB image of at most 128 x 128, or None when it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.draft("RGB", (128, 128))  # large JPEGs are decoded at reduced size
            image = image.convert("RGB")
            image.thumbnail((128, 128), Image.Resampling.BOX)
            return image
    except (*PILLOW_ERRORS, Image.DecompressionBombError):
        return None


def _fit(image, size):
    """Return uint8 (size, size, 3): the central square, small images enlarged without smoothing."""
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    how = Image.Resampling.NEAREST if side < size else Image.Resampling.BOX
    return np.asarray(image.resize((size, size), how, (left, top, left + side, top + side)))


def _sheet(cells, size, columns):
    """Return the data URI of a JPEG with the cells in rows of `columns`."""
    width, height = min(columns, len(cells)), -(-len(cells) // columns)
    pixels = np.zeros((height * size, width * size, 3), np.uint8)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        pixels[row * size : (row + 1) * size, column * size : (column + 1) * size] = cell
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(pixels)).decode()


def _jpeg(pixels):
    from PIL import Image

    stream = io.BytesIO()
    # optimize=True fails where noise takes more than a byte per pixel
    Image.fromarray(pixels).save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()


def _bytes_per_cell(images, size):
    """Return the base64 bytes that a cell of these images takes."""
    cells = [_fit(image, size) for image in images]
    return len(_jpeg(np.concatenate(cells, axis=1))) * 4 / 3 / len(cells)
