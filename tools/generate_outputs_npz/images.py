"""The images of a folder, checked before any slow work, and as the encoder sees them."""

import hashlib
import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from common import console
from common.datasets.degradations import degrade, network_input, resized
from common.datasets.latents import check_generator, find_pairs, orphans, read_latents
from common.errors import InputError
from common.files import read_regular, system_errors
from common.images.decode import decode, image_errors, open_pillow
from common.numerals import counted

READERS = 4  # threads that decode the images of a unit


class Images:
    """The images below a folder, in natural order, at one resize factor.

    pairs: Pairs.  has_truth: bools (N,).  style_dims: of the first latents that have them, or None.  digest: of all
    contents.  degraded: whether they lie there degraded by that factor already.  notes: for people.
    Raises InputError naming an image or latents file that is damaged, without a partner, or degraded by another factor.
    """

    def __init__(self, folder, factor, size, num_dims, allow_missing_truth):
        self.folder, self.factor, self.size, self.num_dims = Path(folder), factor, size, num_dims
        self.pairs, self.notes = find_pairs(folder), []
        self.has_truth = np.array([pair.latents is not None for pair in self.pairs])
        self._check_partners(allow_missing_truth)
        self.style_dims, self._factors, self._made_by = None, {}, {}
        self.digest = self._read_all()
        self.degraded = self._check_factor()

    def __len__(self):
        return len(self.pairs)

    def _check_partners(self, allow_missing_truth):
        if not self.has_truth.any():
            self.notes.append(f"note: no latents in {self.folder}: the truth is NaN in every row")
        elif not self.has_truth.all():
            if not allow_missing_truth:
                try:
                    find_pairs(self.folder, need_latents=True)
                except InputError as error:
                    raise InputError(error.what, where=error.where, do="Restore the file, remove the image, or pass "
                                     "--allow_missing_truth for rows of NaN") from error
            self.notes.append(f"note: no latents for {int((~self.has_truth).sum()):,} of {len(self):,} images: their "
                              "truth is NaN")
        lost = orphans(self.folder, self.pairs)
        if lost:
            self.notes.append(f"note: no image for {counted(len(lost), 'latents file')}, {lost[0]} the first")

    def _read_all(self):
        """Return the SHA-256 of all contents, each image and each latents file read once and checked."""
        digest = hashlib.sha256()
        with console.progress("checking", len(self), unit="images", after=5) as advance:
            for pair in self.pairs:
                digest.update(f"{pair.name}\n".encode(errors="surrogateescape"))
                digest.update(hashlib.sha256(_checked(pair.image)).digest())
                if pair.latents is not None:
                    self._check_latents(pair, digest)
                advance()
        return digest.hexdigest()

    def _check_latents(self, pair, digest):
        latents = read_latents(pair.latents, self.num_dims)
        with system_errors(pair.latents):
            digest.update(hashlib.sha256(read_regular(pair.latents)).digest())
        if self.style_dims is None:
            self.style_dims = latents.style_dims
        check_generator(self._made_by, latents, pair)
        if "resize_factor" in latents.record:
            self._factors.setdefault(latents.record["resize_factor"], pair)

    def _check_factor(self):
        """Return whether the images are degraded already, by what their latents say, else by the folder's name."""
        found = dict(self._factors)
        if len(found) > 1:
            (first, _), (second, pair) = list(found.items())[:2]
            raise InputError(f"its image is degraded by {second}, others of the folder by {first}",
                             where=pair.latents, do="Pass the folder of one factor")
        if not found and (named := re.fullmatch(r"(\d+)x", self.folder.resolve().name)) \
                and self.folder.resolve().parent.name == "generated" and int(named[1]) > 1:
            found = {int(named[1]): None}
            self.notes.append(f"note: {self.folder} is taken to hold images that are degraded by {named[1]}, by its "
                              "name")
        stored, pair = next(iter(found.items()), (1, None))
        if stored not in (1, self.factor):
            raise InputError(f"its images are degraded by {stored} already", where=self.folder,
                             do=f"Pass --resize_factor {stored}, or the folder of factor 1")
        if stored > 1 and pair is not None:
            self._check_size(pair)
        return stored > 1

    def _check_size(self, pair):
        height, width = decode(read_regular(pair.image), pair.image).shape[:2]
        if (height, width) != (self.size, self.size):
            raise InputError(f"was degraded for an encoder of {width} px, this one takes {self.size} px",
                             where=pair.image, do=f"Generate it with --encoder_size {self.size}")

    def load(self, indices, threads=READERS):
        """Return (uint8 images (n, S, S, 3) as the encoder sees them, truth (n, D) float32, NaN for none)."""
        pairs = [self.pairs[index] for index in indices]
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                pixels = list(pool.map(self._pixels, pairs))
        else:
            pixels = [self._pixels(pair) for pair in pairs]
        truth = np.full((len(pairs), self.num_dims), np.nan, np.float32)
        for row, pair in enumerate(pairs):
            if pair.latents is not None:
                truth[row] = read_latents(pair.latents, self.num_dims).style_vectors
        return np.stack(pixels), truth

    def _pixels(self, pair):
        with system_errors(pair.image):
            image = decode(read_regular(pair.image), pair.image)
        return resized(image, self.size) if self.degraded else degrade(image, self.factor, self.size)


def _checked(path):
    """Return an image file's bytes. Raises InputError where they are not a whole image; a PNG's check sums tell."""
    with system_errors(path):
        data = read_regular(path)
    with image_errors(path), open_pillow(io.BytesIO(data)) as image:
        if image.format == "PNG":
            image.verify()
            return data
    decode(data, path)
    return data


def as_input(pixels, count):
    """Return uint8 images (n, S, S, 3) as a float32 (count, 3, S, S) tensor in [-1, 1]; the last one fills it up.

    All forward passes have one shape, so that an image's values do not depend on how many come after it.
    """
    padded = np.concatenate([pixels, np.repeat(pixels[-1:], count - len(pixels), axis=0)])
    return network_input(padded)
