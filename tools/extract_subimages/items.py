"""`items`: a contact sheet of what training sees, from a block of a training configuration."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from common import console
from common.cli import Outcome
from common.errors import InputError, nearest
from common.files import check_writable, remove_abandoned, write_bytes
from common.options import REQUIRED, CommonOptions, option
from common.paths import is_below
from tools.extract_subimages.pictures import check_output

SIDE = 224  # pixels of a shown image, at least
GAP = 8


@dataclass(kw_only=True)
class ItemsOptions(CommonOptions):
    """Flags of `extract_subimages items`."""

    options_file: str = option(REQUIRED, "YAML or JSON with the block of a data set, or several under `datasets`",
                               word=True)
    block: Optional[str] = option(None, "name of the block, such as train (default: the first)", kind="how")
    num: int = option(4, "number of items, evenly spaced over the data set", kind="how")
    epoch: int = option(0, "epoch of the random crops and corruptions", kind="how")
    output: str = option("items.png", "contact sheet to write", kind="how")


def show_items(options):
    """Write the picture; results: mode, num_items, items (shapes by key), picture."""
    from common.datasets.dlas.options import create_dataset, load_options

    if options.num < 1:
        raise InputError("must be at least 1", where=f"--num {options.num}", do="Correct the value")
    blocks = load_options(options.options_file)
    name = options.block or next(iter(blocks))
    if name not in blocks:
        raise InputError(f"no block '{name}'", where=options.options_file, do=nearest(name, blocks))
    output = Path(options.output)
    check_output(output)
    dataset = create_dataset(blocks[name])
    if not hasattr(dataset, "chunks"):  # which hold no picture of their root for a tile
        _check_apart(blocks[name], output)
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(options.epoch)
    shown = min(options.num, len(dataset))
    items = [dataset[number * (len(dataset) - 1) // max(shown - 1, 1)] for number in range(shown)]  # over the whole set
    shapes = {key: list(value.shape) for key, value in items[0].items() if hasattr(value, "shape")}
    check_writable(output.parent)
    if not options.dry_run:
        stream = io.BytesIO()
        draw(items, blocks[name]["mode"]).save(stream, format="PNG")
        remove_abandoned(output)
        write_bytes(output, stream.getvalue())
    console.show_table(f"{blocks[name]['mode']}: {len(dataset):,} items", ["key", "shape"],
                       [[key, shape] for key, shape in shapes.items()])
    console.say(f"wrote {output}")
    return Outcome({"mode": blocks[name]["mode"], "num_items": len(dataset), "items": shapes, "picture": str(output)},
                   [] if options.dry_run else [str(output)])


def _check_apart(block, output):
    """Raise InputError for a picture that would be an image of the data set."""
    for key in ("paths", "path", "dataroot_GT", "dataroot_LQ"):
        for folder in block[key] if isinstance(block[key], list) else [block[key]]:
            if isinstance(folder, str) and is_below(output, folder):
                raise InputError(f"lies in {folder}, where it would be read as an image", where=f"--output {output}",
                                 do="Choose another folder")


def draw(items, mode):
    """Return a Pillow image: a row for each item."""
    from PIL import Image

    rows = [_row(_panels(item, mode)) for item in items]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height + GAP for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + GAP
    return sheet


def _panels(item, mode):
    """Return [(title, float (3, H, W) in 0..1)] of one item."""
    if mode == "multiscale":
        return _tree(item["hq"])
    frames = item["hq"][None] if item["hq"].dim() == 3 else item["hq"]
    low = item["lq"][None] if "lq" in item and item["lq"].dim() == 3 else item.get("lq")
    panels = []
    for number, frame in enumerate(frames):
        which = f" {number}" if len(frames) > 1 else ""
        panels.append((f"hq{which} {frame.shape[-1]}", frame[:3]))
        if low is not None:
            panels.append((f"lq{which} {low.shape[-1]}", low[number][:3]))
    reference = item.get("gt_fullsize_ref")
    if reference is not None and reference.dim() == 3 and bool(reference[:3].any()):
        lit = 0.35 + 0.65 * (reference[3:] > 0.5)  # the tile's position stands out
        panels.append(("position in the reference", reference[:3] * lit))
    return panels


def _tree(patches):
    """Return one mosaic per level of the multiscale tree: the whole, its quadrants, theirs in turn."""
    import torch

    from common.datasets.dlas.multiscale import patch_tree

    count, scales, total = len(patches), 0, 0
    while total < count:
        total += 4**scales
        scales += 1
    side, levels = patches.shape[-1], {}
    for leaf in patch_tree(scales):
        path = [leaf]
        while path[-1].parent is not None:
            path.append(path[-1].parent)
        left = top = 0.0
        for depth, node in enumerate(reversed(path)):
            left, top = (left + (node.left or 0) / 2 ** (depth - 1),
                         top + (node.top or 0) / 2 ** (depth - 1)) if depth else (0.0, 0.0)
            levels.setdefault(depth, {})[node.index] = (round(left * 2**depth), round(top * 2**depth))
    panels = []
    for depth, places in sorted(levels.items()):
        mosaic = torch.zeros(3, side * 2**depth, side * 2**depth)
        for index, (column, row) in places.items():
            mosaic[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = patches[index]
        panels.append((f"level {depth}: {len(places)} x {side} x {side}", mosaic))
    return panels


def _row(panels):
    """Return one row of titled pictures."""
    from PIL import Image, ImageDraw

    pictures = [_picture(pixels) for _, pixels in panels]
    height = max(picture.height for picture in pictures) + 20
    row = Image.new("RGB", (sum(picture.width + GAP for picture in pictures), height), "white")
    draw, left = ImageDraw.Draw(row), 0
    for (title, _), picture in zip(panels, pictures):
        draw.text((left, 3), title, fill="black", font_size=13)
        row.paste(picture, (left, 20))
        left += picture.width + GAP
    return row


def _picture(pixels):
    """Return float (3, H, W) as a Pillow image, small ones enlarged without smoothing, large ones reduced."""
    from PIL import Image

    image = Image.fromarray((pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy())
    factor = SIDE / max(image.size)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)
