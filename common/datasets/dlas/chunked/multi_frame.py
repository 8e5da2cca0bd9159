"""MultiFrameDataset (mode multi_frame_extensible): the same tile in consecutive frames of a clip."""

import os
import re

import numpy as np
import torch

from common.datasets.dlas.chunked import warn
from common.datasets.dlas.chunked.base import ChunkedDataset, to_centers, to_planes
from common.errors import InputError
from common.numerals import counted

SUFFIX_LENGTH = 12
RIGHT = re.compile(r"_right(_\d+)?$")


class FramesDataset(ChunkedDataset):
    """Items of several frames: the keys of SingleImageDataset with a leading axis of N frames, but for LQ_path.

    hq (N, 3, T, T), lq (N, 3, L, L), gt_fullsize_ref (N, 4, T, T), lq_fullsize_ref (N, 4, L, L): float32;
    gt_center, lq_center (N, 2): int64; GT_path: the last frame's tile.
    """

    def collect(self, frames, low):
        """Return the item's dictionary (see the class)."""
        return {
            "lq": _stacked(low), "hq": _stacked([to_planes(frame.hq) for frame in frames]),
            "gt_fullsize_ref": _stacked([self.full_reference(frame) for frame in frames]),
            "lq_fullsize_ref": _stacked([self.full_reference(frame, low=True) for frame in frames]),
            "lq_center": to_centers([frame.low_center for frame in frames]),
            "gt_center": to_centers([frame.center for frame in frames]),
            "GT_path": frames[-1].label,
        }

    def with_tile(self, numbers, tile):
        """Return [(position in self.chunks, tile)] for the frames `numbers`.

        In place of a frame that has no such tile stands the next later one that has it (the last one does); with
        broken_images "raise" it is an InputError.
        """
        found, later = [], numbers[-1]
        for number in reversed(numbers):
            if tile < len(self.chunks[number]):
                later = number
            elif self.broken_images == "raise":
                tiles = counted(len(self.chunks[number]), "tile")
                raise InputError(f"frame {self.chunks[number].name} has {tiles}, and no number {tile}",
                                 where=self.MODE, do="Extract all frames with the same options")
            else:
                warn(f"{self.chunks[number].name}: no tile {tile}; {self.chunks[later].name} takes its place")
            found.append((later, tile))
        return found[::-1]


class MultiFrameDataset(FramesDataset):
    """Items of num_frames (N) consecutive frames, the item's own tile in the last of them.

    Options beside those of `ChunkedDataset`: num_frames; frame_suffix_len (12): a frame belongs to the clip that the
    name of its photo without the last 12 characters tells, by the path that the geometry records, or the folder's name
    where none does; frame_regex: instead, the first group of this pattern (or the whole match) searched in the folder's
    name.
    The window ends at the item's frame; before the start of the clip, its first frame is repeated.
    compat: the original's window (see `original_window`).
    """

    MODE = "multi_frame_extensible"
    REQUIRED = (*ChunkedDataset.REQUIRED, "num_frames")

    def __init__(self, options):
        super().__init__(options)
        self.num_frames = self.options.integer("num_frames")
        self.suffix = self.options.integer("frame_suffix_len", SUFFIX_LENGTH, low=0)
        self.pattern = self._pattern(self.options.get("frame_regex"))
        self._clips, self._rank = self._find_clips()
        self._names = [chunk.name for chunk in self.chunks] if self.compat else []

    def frames_of(self, number, tile):
        """Return [(position in self.chunks, tile)] of the window of a frame."""
        if self.compat:
            return [(frame, tile) for frame in original_window(self._names, number, self.num_frames, self.suffix)]
        clip, rank = self._clips[number], self._rank[number]
        return self.with_tile([clip[max(rank - back, 0)] for back in reversed(range(self.num_frames))], tile)

    def clip_name(self, chunk):
        """Return the clip that a chunk belongs to, by its photo's name or its folder's."""
        name = chunk.name
        if self.pattern is None:
            source = chunk.read_source()
            if source is not None:
                folder, _, file = source.rpartition("/")
                side = "right" if RIGHT.search(name) else "left"
                return folder, os.path.splitext(file)[0][: -self.suffix or None], side
            return name[: len(name) - self.suffix] if len(name) > self.suffix else ""
        found = self.pattern.search(name)
        if found is None:
            raise InputError(f"frame_regex does not match the folder {name}", where=self.MODE, do="Change frame_regex")
        return found.group(1 if self.pattern.groups else 0)

    def _pattern(self, text):
        try:
            return None if text is None else re.compile(text)
        except (re.error, TypeError) as error:
            raise self.options.wrong("frame_regex", text, f"a regular expression ({error})") from error

    def _find_clips(self):
        """Return for each chunk its clip (positions of its frames) and its rank in it; repeats by weight are apart."""
        clips, ranks, start = [], [], 0
        for chunks, repeats in self.roots:
            for _ in range(repeats):
                found = {}
                for number, chunk in enumerate(chunks, start):
                    clip = found.setdefault(self.clip_name(chunk), [])
                    ranks.append(len(clip))
                    clips.append(clip)
                    clip.append(number)
                start += len(chunks)
        return clips, ranks


def original_window(names, number, num_frames, suffix=SUFFIX_LENGTH):
    """Return the positions of the frames that the original takes for folder `number`.

    It steps back while the earlier folder's name contains the clip's text, at most num_frames times (from the first
    folder on to the last of the list, as Python counts), and goes forward from there: a frame with num_frames
    predecessors is not in its own window, and a short clip runs on into the next one.
    Raises InputError when the window runs out of the list.
    """
    source, before = names[number][:-suffix] if suffix else names[number], number - 1
    while number - before <= num_frames and source in names[before]:
        before -= 1
        if before < -len(names):
            break
    frames = list(range(before + 1, before + 1 + num_frames))
    if frames[-1] >= len(names):
        raise InputError(f"the window of {names[number]} runs out of the data set", where="compat",
                         do="Set compat to false: the window then ends at the frame itself")
    return [frame % len(names) for frame in frames]


def _stacked(arrays):
    return torch.from_numpy(np.stack(arrays))
