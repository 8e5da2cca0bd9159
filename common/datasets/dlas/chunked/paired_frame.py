"""PairedFrameDataset (mode paired_frame): the two halves of stereoscopic photos, extracted with vertical_split."""

import re

from common.datasets.dlas.chunked import warn
from common.datasets.dlas.chunked.multi_frame import FramesDataset
from common.errors import InputError
from common.numerals import counted

SIDE = re.compile(r"^(.*)_(left|right)(.*)$", re.DOTALL)


class PairedFrameDataset(FramesDataset):
    """Items of two frames, left and right: shapes as in FramesDataset with N = 2; each pair comes once per half.

    Folders are paired by name: `<photo>_left<...>` with `<photo>_right<...>`, in the order of the numbers after them if
    a name is repeated. A half without its counterpart is skipped with a DatasetWarning.
    compat: the original's rule instead, a folder with _left in its name with the next one, any other with the previous.
    """

    MODE = "paired_frame"

    def __init__(self, options):
        super().__init__(options)
        self._pairs = [] if self.compat else self._find_pairs()

    def _open_root(self, root, repeats):
        """Like the base, without single halves (compat keeps them)."""
        chunks, repeats = super()._open_root(root, repeats)
        if self.compat:
            return chunks, repeats
        partners = match_halves([chunk.name for chunk in chunks])
        single = [chunk.name for number, chunk in enumerate(chunks) if number not in partners]
        if single:
            warn(f"{root}: skipped {counted(len(single), 'folder')} without the other half, the first is {single[0]}")
        paired = [chunk for number, chunk in enumerate(chunks) if number in partners]
        if not paired:
            raise InputError("no folder has its other half (_left and _right in the names)", where=root,
                             do="Extract the photos with --vertical_split")
        return paired, repeats

    def frames_of(self, number, tile):
        """Return [(position in self.chunks, tile)] of the left and the right half."""
        if self.compat:
            left = number if "_left" in self.chunks[number].name else number - 1
            if left + 1 >= len(self.chunks):
                raise InputError(f"no folder after {self.chunks[number].name}", where="compat",
                                 do="Set compat to false")
            return [(left % len(self.chunks), tile), (left + 1, tile)]
        pair = self._pairs[number]
        count = min(len(self.chunks[half]) for half in pair)
        if tile >= count and self.broken_images == "raise":
            raise InputError(f"the other half of {self.chunks[number].name} has no tile {tile}", where=self.MODE,
                             do="Extract both halves with the same options")
        if tile >= count:
            warn(f"{self.chunks[number].name}: the other half has no tile {tile}; tile {count - 1} is used instead")
        return [(half, min(tile, count - 1)) for half in pair]

    def _find_pairs(self):
        """Return (left, right) positions in self.chunks for each chunk."""
        pairs = []
        for chunks, repeats in self.roots:
            partners = match_halves([chunk.name for chunk in chunks])
            for _ in range(repeats):
                start = len(pairs)
                pairs += [tuple(start + half for half in partners[number]) for number in range(len(chunks))]
        return pairs


def match_halves(names):
    """Return {position: (left, right)} of the folder names with both halves."""
    sides = {}
    for number, name in enumerate(names):
        if match := SIDE.match(name):
            photo, side, rest = match.groups()
            sides.setdefault(photo, {"left": [], "right": []})[side].append((_number(rest), rest, number))
    partners = {}
    for halves in sides.values():
        for left, right in _pair_up(sorted(halves["left"]), sorted(halves["right"])):
            partners[left] = partners[right] = (left, right)
    return partners


def _pair_up(lefts, rights):
    """Return [(left, right)] positions: in order if both halves of every photo exist, else by numbers k and k + 1."""
    if len(lefts) == len(rights):
        return [(left[2], right[2]) for left, right in zip(lefts, rights)]
    numbered = {right[0]: right[2] for right in rights}
    return [(left[2], numbered[left[0] + 1]) for left in lefts if left[0] + 1 in numbered]


def _number(text):
    """Return the number at the end of a folder's name, or -1."""
    match = re.search(r"(\d+)$", text)
    return int(match.group(1)) if match else -1
