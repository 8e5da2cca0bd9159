"""Mode multiscale: one photo to its chunks (tiles, reference, centres, exact geometry), all in one process."""

import hashlib
import json

from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.datasets.dlas.chunked.centers import centers_bytes
from common.errors import as_input_error
from common.files import open_regular
from common.images.photos import SkippedPhoto
from tools.extract_subimages.checks import excluded_strings
from tools.extract_subimages.pixels import compact, decode_quietly, make_encoder, pixels_of, resize_area, shrink_area
from tools.extract_subimages.sinks import GEOMETRY, FolderSink, SegmentSink, tile_json
from tools.extract_subimages.sources import digest_of, original_folder
from tools.extract_subimages.tiling import (
    frames_of,
    halved_size,
    mask_region,
    reference_of,
    reference_side,
    tile_records,
)

VERSION = 1  # of the geometry file


def layout_of(options, source, height, width):
    """Return (halved, [(PhotoFrame, [TileRecord])]) of an upright photo of this size: frames that have tiles, ids from
    1.

    Masks are looked at here. Raises SkippedPhoto for a photo that is too small.
    """
    original = options.compat == "original"
    height, width, halved = halved_size(height, width, options.input_image_max_size_before_being_halved)
    if min(height, width) < options.min_size:
        size = f"{height}x{width}{' after being halved' if halved else ''}"
        raise SkippedPhoto("too small", f"{size}, the smaller side must be {options.min_size}")
    if min(height, width) < (2 if options.vertical_split else 1):
        raise SkippedPhoto("too small", f"{height}x{width}")
    skip = _excluded_scales(options, source)
    mask = _read_mask(options, source)
    found = []
    for frame in frames_of(height, width, options.vertical_split, options.square, original):
        records = tile_records(
            (frame.height, frame.width), options.crop_sz, options.step, options.thres_sz, options.resize_final_img,
            only_resize=options.only_resize and not original, skip=skip, original=original,
        )
        if mask is not None:
            records = _masked(records, mask, frame, options)
        if records:
            found.append((frame, records))
    return halved, found


def _excluded_scales(options, source):
    """Return the positions of scales that are left out for a photo, by the strings in its path."""
    path = f"/{source.path}"
    found = {scale for scale,
             word in enumerate(options.exclusions) if any(part in path for part in excluded_strings(word))}
    if options.compat == "original" and options.exclusions:  # its lists are zipped: the shortest decides
        found |= set(range(len(options.exclusions), len(options.crop_sz)))
    return found


def _read_mask(options, source):
    """Return the mask of a photo (H, W) or (H, W, C), or None when there is none."""
    if not options.use_masking:
        return None
    path = mask_path(options, source)
    try:
        with open_regular(path) as stream:
            data = stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SkippedPhoto("unreadable mask", f"{source.name}.png") from error
    try:
        return decode_quietly(data, exif=False, keep_grey=True, icc=False).pixels
    except SkippedPhoto as error:
        raise SkippedPhoto("unreadable mask", f"{source.name}.png: {error.detail}") from error


def mask_path(options, source):
    """Return where the mask of a photo lies, if it has one."""
    return f"{options.mask_path}/{source.name}.png"


def _masked(records, mask, frame, options):
    """Return the records whose region of the mask has a mean of at least 127.5, numbered anew from 1."""
    original = options.compat == "original"
    size = frame.height, frame.width
    reference = reference_of(*size, reference_side(options.crop_sz, options.resize_final_img),
                             True) if original else None
    kept = []
    for record in records:
        top, bottom, left, right = mask_region(record, size, mask.shape, reference)
        region = mask[top:bottom, left:right]
        if region.size == 0 or region.mean() >= 127.5:
            kept.append(record._replace(id=len(kept) + 1))
    return kept


def chunk_names(options, unit, frames):
    """Return the folder names of a photo's chunks."""
    if options.naming == "original":
        return [original_folder(unit.source.name, frame.side, unit.number + index) for index,
                frame in enumerate(frames)]
    return [f"{unit.stem}_{frame.side}" for frame in frames]


def read_source(source):
    """Return the bytes of a photo. Raises SkippedPhoto for a file that cannot be opened any more."""
    try:
        with open_regular(source.full) as stream:
            return stream.read()
    except OSError as error:
        mended = as_input_error(error, where=source.full)
        raise SkippedPhoto("unreadable", mended.what if mended else str(error)) from error


def extract(options, unit):
    """Write the chunks of one photo. Returns {"chunks": [names], "tiles", "bytes"}; raises SkippedPhoto."""
    data = read_source(unit.source)
    photo = pixels_of(options, data)
    if photo.pixels.ndim == 2:
        raise SkippedPhoto("grey", "the original takes colour alone")
    halved, layout = layout_of(options, unit.source, *photo.pixels.shape[:2])
    if not layout:
        raise SkippedPhoto("no tile", "no window fits, or all are excluded or masked")
    pixels = resize_area(photo.pixels, photo.pixels.shape[0] // 2,
                         photo.pixels.shape[1] // 2) if halved else photo.pixels
    about = {"version": VERSION, "source": unit.source.path, "source_bytes": len(data),
             "source_sha256": hashlib.sha256(data).hexdigest(), "source_size": list(photo.stored_size),
             "orientation": photo.orientation, "halved": halved, **photo.notes}
    if options.use_masking:
        about["mask_sha256"] = digest_of(mask_path(options, unit.source))
    names = chunk_names(options, unit, [frame for frame, _ in layout])
    packed = options.layout in ("packed", "parquet")
    sink = SegmentSink(options.save_folder, unit) if packed else FolderSink(options.save_folder)
    first_id, tiles = unit.first_id, 0
    try:
        for name, (frame, records) in zip(names, layout):
            if options.naming == "stable":
                first_id = 0
            if first_id:
                records = [record._replace(id=first_id + record.id) for record in records]
            view = pixels[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]
            told = {**about, "chunks": names, "frame": frame._asdict(), "reference_id": first_id}
            _write_chunk(options, view, records, told, sink.chunk(name))
            first_id, tiles = first_id + len(records) + 1, tiles + len(records)
        sink.finish()
    except BaseException:
        sink.abandon()
        raise
    return {"chunks": names, "tiles": tiles, "bytes": sink.bytes, "about": about}


def _write_chunk(options, square, records, about, add):
    """Encode one chunk's files and hand them to add(name, data, record)."""
    lengths = []

    def add(name, data, record=None, put=add):
        lengths.append(len(data))
        put(name, data, record)

    encode = make_encoder(options.format, options.compression_level, options.subsampling, options.png_level)
    encode_reference = make_encoder("jpg", options.compression_level, options.subsampling)
    virtual = options.layout == "virtual"
    if virtual:
        add(f"square.{options.format}", encode(square))
    else:
        for record, tile in zip(records, cut_tiles(square, records)):
            add(f"{record.id:08d}.{options.format}", encode(compact(tile)), record)
    side = reference_side(options.crop_sz, options.resize_final_img)
    reference = reference_of(*square.shape[:2], side, options.compat == "original")
    add("ref.jpg", encode_reference(draw_reference(square, reference)))
    centers = {record.id: ((record.row, record.col), record.width) for record in records}
    add(CENTERS, centers_bytes(centers))
    about = {**about, "reference": reference._asdict(), "layout": options.layout, "format": options.format,
             "tiles": len(records), "stored_bytes": sum(lengths)}
    add(GEOMETRY, (json.dumps(about) + "\n" + "".join(f"{tile_json(record)}\n" for record in records)).encode())


def draw_reference(square, reference):
    """Return the reference (R, R, 3): the square resized by area, in the middle of black where it is not a square."""
    import numpy as np

    picture = shrink_area(square, reference.height, reference.width)
    if picture.shape[:2] == (reference.side, reference.side):
        return picture
    canvas = np.zeros((reference.side, reference.side, *picture.shape[2:]), picture.dtype)
    canvas[reference.top : reference.top + reference.height,
           reference.left : reference.left + reference.width] = picture
    return canvas


def cut_tiles(square, records):
    """Yield the pixels of each tile.

    For a whole factor k the square is resized once and cut afterwards: where the window begins at multiples of k this
    gives the same bits as resizing each window. Other windows (those flush with the edge, mostly) are resized alone.
    """
    smaller = {}
    height, width = square.shape[:2]
    for record in records:
        factor, odd = divmod(record.crop, record.size)
        window = square[record.top : record.top + record.crop, record.left : record.left + record.crop]
        if factor <= 1 or odd or record.top % factor or record.left % factor:
            yield resize_area(window, record.size, record.size)
            continue
        if factor not in smaller:
            inner = square[: height - height % factor, : width - width % factor]
            smaller[factor] = resize_area(inner, height // factor, width // factor)
        top, left = record.top // factor, record.left // factor
        yield smaller[factor][top : top + record.size, left : left + record.size]
