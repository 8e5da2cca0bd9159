"""The modes with a flat folder: single (tiles of one scale) and square; pair, of high and low resolution, is in pairs.

Each photo also gets `geometry/<name>.jsonl`: a line about the photo, then one per file with its exact window.
"""

import hashlib
import json

from common.images.photos import SkippedPhoto
from common.images.suffixes import is_image
from tools.extract_subimages.chunks import read_source
from tools.extract_subimages.pixels import compact, make_encoder, pixels_of, resize_area
from tools.extract_subimages.sinks import FlatSink
from tools.extract_subimages.tiling import tile_windows

VERSION = 1  # of the geometry file


def extract_single(options, unit):
    """Write a photo's tiles as `<name>_l<left>_s<number>`. Returns {"files", "tiles", "bytes"}; raises SkippedPhoto."""
    data, photo = decoded(options, unit.source)
    height, width = photo.pixels.shape[:2]
    if min(height, width) < options.min_size:
        raise SkippedPhoto("too small", f"{height}x{width}, the smaller side must be at least {options.min_size}")
    windows = []
    for left, right in _halves(width, options.vertical_split):
        part = photo.pixels[:, left:right]
        name = unit.stem if options.naming == "basicsr" else f"{unit.stem}_l{left:05d}"
        windows += [(f"{name}_s{number:03d}.{options.format}", top, left + column, side, size)
                    for number, (top, column, side, size) in enumerate(_single_windows(options, *part.shape[:2]), 1)]
    if not windows:
        raise SkippedPhoto("no tile", f"{height}x{width} is smaller than the window of {options.crop_sz[0]}")
    return write_windows(options, unit, [(photo.pixels, windows)], about_of(unit.source, data, photo))


def _halves(width, split):
    return [(0, width // 2), (width // 2, width)] if split else [(0, width)]


def _single_windows(options, height, width):
    """Return [(top, left, side, stored side)] of a photo or a half of one."""
    crop = options.crop_sz[0]
    if options.only_resize:
        side = min(height, width)
        return [((height - side) // 2, (width - side) // 2, side, crop)]
    size = int(crop * options.resize_final_img[0])
    windows = tile_windows((height, width), crop, options.step[0], options.thres_sz)
    return [(top, left, crop, size) for top, left in windows]


def decoded(options, source):
    """Return (bytes, Photo) of a source; grey is kept."""
    data = read_source(source)
    return data, pixels_of(options, data, keep_grey=True)


def about_of(source, data, photo):
    """Return what the geometry tells of a photo."""
    return {"version": VERSION, "source": source.path, "source_bytes": len(data), "orientation": photo.orientation,
            "source_sha256": hashlib.sha256(data).hexdigest(), "source_size": list(photo.stored_size), **photo.notes}


def write_windows(options, unit, parts, about):
    """Encode and write the windows. parts: [(pixels, [(file, top, left, side, stored side)])]."""
    encode = make_encoder(options.format, options.compression_level, options.subsampling, options.png_level)
    sink, lines = FlatSink(options.save_folder, unit.stem, options.compat == "original"), []
    try:
        for pixels, windows in parts:
            for file, top, left, side, size in windows:
                tile = resize_area(pixels[top : top + side, left : left + side], size, size)
                sink.add(file, encode(compact(tile)))
                lines.append({"file": file, "top": top, "left": left, "crop": side, "size": size})
        sink.finish(_lines({**about, "tiles": len(lines), "stored_bytes": sink.bytes}, lines))
    except BaseException:
        sink.abandon()
        raise
    return {"files": sink.names, "tiles": len(lines), "bytes": sink.bytes, "about": about}


def _lines(about, lines):
    return "".join(json.dumps(line) + "\n" for line in [about, *lines]).encode()


def extract_square(options, unit):
    """Write one image of --imgsize for a photo. Returns {"files", "tiles", "bytes"}; raises SkippedPhoto."""
    original = options.compat == "original"
    data = read_source(unit.source)
    photo = pixels_of(options, data, keep_alpha=True)
    if photo.pixels.ndim == 2:
        raise SkippedPhoto("grey", "the original only takes colour")
    if min(photo.pixels.shape[:2]) < options.min_size:
        raise SkippedPhoto("too small", f"{photo.pixels.shape[0]}x{photo.pixels.shape[1]}, the smaller side must be at "
                                        f"least {options.min_size}")
    file, kind = _square_file(options, unit, original)
    top, left, height, width = square_window(*photo.pixels.shape[:2], options.imgsize, options.bottom_crop)
    window = photo.pixels[top : top + height, left : left + width]
    encode = make_encoder(kind, options.compression_level, options.subsampling, options.png_level)
    about = about_of(unit.source, data, photo)
    sink = FlatSink(options.save_folder, unit.stem, original)
    try:
        sink.add(file, encode(resize_area(window, options.imgsize[1], options.imgsize[0])))
        line = {"file": file, "top": top, "left": left, "height": height, "width": width, "size": options.imgsize[::-1]}
        sink.finish(_lines({**about, "tiles": 1, "stored_bytes": sink.bytes}, [line]))
    except BaseException:
        sink.abandon()
        raise
    return {"files": sink.names, "tiles": 1, "bytes": sink.bytes, "about": about}


def square_window(height, width, imgsize, bottom_crop):
    """Return (top, left, height, width) of the centred window of imgsize's aspect; SkippedPhoto for a small photo.

    imgsize: (width, height).  bottom_crop: rows cropped at the bottom first, a fraction of the height or pixels.
    """
    height -= int(height * bottom_crop) if bottom_crop < 1 else int(bottom_crop)
    if width < imgsize[0] or height < imgsize[1]:
        raise SkippedPhoto("too small", f"{max(height, 0)}x{width}, at least {imgsize[1]}x{imgsize[0]} is needed")
    aspect = imgsize[1] / imgsize[0]
    size = height, width
    if height < width * aspect:
        size = height, int(height / aspect)
    elif width * aspect < height:
        size = int(width * aspect), width  # the original's formula, exact for squares alone
    return (height - size[0]) // 2, (width - size[1]) // 2, *size


def _square_file(options, unit, original):
    """Return (file name, file type). The original only replaces `.webp`, by the format without a dot."""
    if not original:
        return f"{unit.stem}.{options.format}", options.format
    name = unit.source.name.replace(".webp", options.format)
    kind = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    if not is_image(f".{kind}"):
        raise SkippedPhoto("no file type", f"the original names it '{name}'")
    folder = unit.source.path.split("/")[0] + "/" if options.keep_folder and "/" in unit.source.path else ""
    return folder + name, "jpg" if kind == "jpeg" else kind
