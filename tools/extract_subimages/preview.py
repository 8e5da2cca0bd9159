"""How many tiles a run would cut (`--dry_run`), and where they are (`--preview`)."""

import io
import math

from common.files import write_bytes
from common.images.photos import SkippedPhoto
from tools.extract_subimages.chunks import cut_tiles, layout_of, read_source
from tools.extract_subimages.pictures import Panel, choose_samples, draw_sheet
from tools.extract_subimages.pixels import header, pixels_of, resize_area
from tools.extract_subimages.tiling import PhotoFrame, tile_windows


def expected_tiles(options, unit):
    """Return the number of tiles expected from a photo's header, or None if it would be skipped."""
    size = header(unit.source.full, options.exif and options.compat == "none")
    if size is None or (options.mode == "pair" and unit.partner is None and not options.make_lr):
        return None
    if options.make_lr:
        size = tuple(side // math.lcm(*options.make_lr) * math.lcm(*options.make_lr) for side in size)
    if options.mode == "square":
        return 1
    try:
        if options.mode == "multiscale":
            return sum(len(records) for _, records in layout_of(options, unit.source, *size)[1]) or None
    except SkippedPhoto:
        return None
    if min(size) < options.min_size:
        return None
    sides = [size[1] // 2, size[1] - size[1] // 2] if options.vertical_split else [size[1]]
    windows = [1 if options.only_resize
               else len(tile_windows((size[0], side), options.crop_sz[0], options.step[0], options.thres_sz))
               for side in sides]
    return sum(windows) * (1 + (len(options.make_lr) or 1) if options.mode == "pair" else 1) or None


def write_preview(options, units, path):
    """Write the contact sheet of --preview photos, spread over the units, and return its path."""
    count = min(options.preview, len(units))
    chosen = [units[(2 * number + 1) * len(units) // (2 * count)] for number in range(count)]
    panels = [panel for unit in chosen for panel in photo_panels(options, unit)]
    stream = io.BytesIO()
    draw_sheet(panels).save(stream, format="PNG")
    write_bytes(path, stream.getvalue())
    return path


def photo_panels(options, unit):
    """Return a Panel for each frame of a photo, drawn from the photo itself, whatever the layout."""
    pixels = pixels_of(options, read_source(unit.source)).pixels
    stored = f"{pixels.shape[1]} x {pixels.shape[0]} px"
    halved, layout = layout_of(options, unit.source, *pixels.shape[:2])
    if halved:
        pixels = resize_area(pixels, pixels.shape[0] // 2, pixels.shape[1] // 2)
    panels = []
    for frame, records in layout:
        side = f", {frame.side} half" if options.vertical_split else ""
        size = f"{frame.width} x {frame.height} px"
        about = f"{stored}{', halved' if halved else ''}{side}; tiles are cut from {size} of it"
        panels.append(window_panel(unit.source.path, about, pixels, records, frame))
    return panels


def window_panel(title, about, pixels, records, frame=None):
    """Return the Panel of a photo and the TileRecords of one of its frames (default: all of it); the rest is faded."""
    frame = frame or PhotoFrame("left", 0, 0, *pixels.shape[:2])
    inside = slice(frame.top, frame.top + frame.height), slice(frame.left, frame.left + frame.width)
    square = pixels[inside]
    picture = 192 + pixels // 4
    picture[inside] = square
    height, width = pixels.shape[:2]
    boxes = []
    for record in records:
        top, left = frame.top + record.top, frame.left + record.left
        boxes.append((record.scale, left / width, top / height, (left + record.crop) / width,
                      (top + record.crop) / height))
    chosen = choose_samples([record.scale for record in records])
    tiles = list(zip(chosen, cut_tiles(square, [records[index] for index in chosen])))
    return Panel(title, about, picture, boxes, tiles, scale_captions(records))


def scale_captions(records):
    """Return {scale: caption of its tiles}."""
    captions = {}
    for record in records:
        count = sum(other.scale == record.scale for other in records) if record.scale not in captions else 0
        if count:
            captions[record.scale] = f"{count} windows of {record.crop} px, stored as {record.size} px"
    return captions
