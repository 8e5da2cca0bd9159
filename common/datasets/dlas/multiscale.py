"""Mode `multiscale`: an image and its quadrants, their quadrants and so on, all at one size (MultiScaleDataset)."""

from dataclasses import dataclass, field
from typing import Optional

import torch

from common.datasets.dlas.corruptions import Corruptor
from common.datasets.dlas.items import FileDataset, area, flip_or_turn, list_files, random_square, to_tensor
from common.images.opencv import read_image

LEFTS, TOPS = (0.0, 0.5, 0.0, 0.5), (0.0, 0.0, 0.5, 0.5)  # top left, top right, bottom left, bottom right
MOST_SCALES = 8  # 21,845 patches


class MultiScaleDataset(FileDataset):
    """Items of `options` (paths, hq_tile_size, num_scales, scale, the corruption keys): dictionaries with

    hq (P, 3, t, t) and lq (P, 3, t // scale, t // scale), float32 in 0..1, P = (4 ** num_scales - 1) / 3 patches in the
    order of `patch_tree`; GT_path (str).
    The image is flipped, transposed, cropped to a random square and resized to hq_tile_size * 2 ** num_scales, so the
    smallest quadrants have twice the tile's side. Corruptions apply to that whole square (compat: in BGR order).
    Raises InputError for a missing or wrong option, a folder without images, an unreadable image.
    """

    REQUIRED = ("paths", "hq_tile_size", "num_scales", "scale")

    def __init__(self, options):
        super().__init__(options, "multiscale")
        values = self.options
        self.tile_size, self.num_scales = values.integer("hq_tile_size"), values.integer("num_scales", high=MOST_SCALES)
        self.scale = values.integer("scale")
        if self.scale > self.tile_size:
            raise values.wrong("scale", self.scale, f"at most hq_tile_size, {self.tile_size}")
        self.corruptor = Corruptor(options, self.compat)
        self.paths = sorted(path for folder, _ in values.folders("paths") for path in list_files(folder, values.where))

    def item(self, index):
        """See ItemDataset."""
        draws, path = self.draws(index), self.paths[index]
        image = random_square(flip_or_turn(read_image(path, self.compat), draws), draws)
        side = self.tile_size * 2**self.num_scales
        image = area(image, side, side)
        clean = torch.stack([to_tensor(patch) for patch in patches(image, self.tile_size, self.num_scales)])
        low = self._corrupted(image, draws)
        source = clean if low is image else torch.stack([to_tensor(patch)
                                                         for patch in patches(low, self.tile_size, self.num_scales)])
        low = torch.nn.functional.interpolate(source, scale_factor=1 / self.scale, mode="area")
        return {"lq": low, "hq": clean, "GT_path": path}

    def _corrupted(self, image, draws):
        if self.compat:
            return self.corruptor.corrupt([image[..., ::-1].copy()])[0][..., ::-1].copy()
        return self.corruptor.corrupt([image], draws)[0]


def patches(image, tile_size, num_scales):
    """Return the patches of a square (S, S, C) image at tile_size: the whole, then quadrants as in `patch_tree`."""
    tiles = [area(image, tile_size, tile_size)]
    _add_quadrants(image, tile_size, num_scales - 1, tiles)
    return tiles


def _add_quadrants(image, tile_size, depth, tiles):
    if depth == 0:
        return
    half = image.shape[0] // 2
    quadrants = [image[top : top + half, left : left + half] for top in (0, half) for left in (0, half)]
    tiles += [area(quadrant, tile_size, tile_size) for quadrant in quadrants]
    for quadrant in quadrants:
        _add_quadrants(quadrant, tile_size, depth - 1, tiles)


@dataclass(eq=False)
class PatchNode:
    """One patch: its index in an item and its position in its parent (left, top: 0 or .5 of the parent's side)."""

    index: int
    parent: Optional["PatchNode"] = None
    left: float = 0.0
    top: float = 0.0
    children: list = field(default_factory=list, repr=False)


def patch_tree(num_scales):
    """Return the leaves of the tree of patches, in the order of their parents; their `parent` leads up to the root.

    Like the original's build_multiscale_patch_index_map, which loops forever for one scale: here the root is the leaf.
    """
    root, leaves = PatchNode(0), []
    _grow(root, num_scales - 1, 1, leaves)
    return leaves


def _grow(node, depth, index, leaves):
    """Add `depth` levels below a node, numbered from `index`; return the next free number."""
    if depth <= 0:
        leaves.append(node)
        return index
    node.children = [PatchNode(index + place, node, LEFTS[place], TOPS[place]) for place in range(4)]
    index += 4
    for child in node.children:
        index = _grow(child, depth - 1, index, leaves)
    return index
