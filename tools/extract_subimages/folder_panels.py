"""Panels of the contact sheet drawn from a chunk folder alone: the reference, and tiles at their places in it."""

from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.datasets.dlas.chunked.centers import read_centers
from common.images.suffixes import is_image
from tools.extract_subimages.pictures import Panel, choose_samples
from tools.extract_subimages.pixels import decode_quietly
from tools.extract_subimages.preview import scale_captions, window_panel
from tools.extract_subimages.records import read_lines
from tools.extract_subimages.sinks import GEOMETRY
from tools.extract_subimages.tiling import TileRecord


def folder_panel(path):
    """Return the Panel of a whole chunk folder, of ours or of the original."""
    lines = read_lines(path / GEOMETRY)
    if lines and lines[0]["layout"] == "virtual":
        square = decode_quietly((path / f"square.{lines[0]['format']}").read_bytes(), exif=False).pixels
        records = [_record(line) for line in lines[1:]]
        return window_panel(path.name, f"{lines[0]['source']}, virtual: tiles are cut from this square when read",
                            square, records)
    reference = decode_quietly((path / "ref.jpg").read_bytes(), exif=False).pixels
    centers = read_centers(path / CENTERS)
    side = reference.shape[0]
    told = {}
    if lines:
        scales = {line["id"]: line["scale"] for line in lines[1:]}
        told = scale_captions([_record(line) for line in lines[1:]])
    else:  # the original tells no scale: the width is the same for all tiles of one
        widths = sorted({width for _, width in centers.values()})
        scales = {key: widths.index(width) for key, (_, width) in centers.items()}
        told = {index: f"tiles {width} px wide in the reference" for index, width in enumerate(widths)}
    keys = sorted(centers)
    boxes = [(scales[key], *_box(*centers[key], side)) for key in keys]
    chosen = choose_samples([scales[key] for key in keys])
    tiles = [(index, _tile(path, keys[index])) for index in chosen]
    source = f"{lines[0]['source']}: " if lines else ""
    return Panel(path.name,
                 f"{source}{len(keys)} tiles at the places that centers.pt tells, in the {side} px reference",
                 reference, boxes, tiles, told)


def _record(line):
    row, col = line["center"]
    return TileRecord(line["id"], line["scale"], line["top"], line["left"], line["crop"], line["size"], row, col,
                      line["width"])


def _box(center, width, side):
    """Return (left, top, right, bottom) in parts of the reference."""
    row, col = center
    edges = (col - width / 2, row - width / 2, col + width / 2, row + width / 2)
    return tuple(min(max(edge / side, 0), 1) for edge in edges)


def _tile(path, number):
    """Return the pixels of a tile, whatever its file type."""
    found = next(entry for entry in sorted(path.glob(f"{number:08d}.*")) if is_image(entry.name))
    return decode_quietly(found.read_bytes(), exif=False).pixels
