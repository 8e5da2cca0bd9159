"""Images and their style vectors: read and checked before training, and the rows of its batches."""

import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from common import console
from common.datasets.degradations import degrade, network_input, resized
from common.datasets.latents import find_pairs, read_latents
from common.datasets.sets.folders import file_marks
from common.errors import InputError
from common.files import read_regular, system_errors
from common.images.decode import decode
from common.seeding import unit_numpy
from common.training.batches import Epochs
from common.training.pixels import DAMAGED, ImageCache

ATTEMPTS = 100  # redraws for a row whose image cannot be read
TRUTH_GB = 1  # style vectors are kept in memory up to here, read again for each batch beyond


class Folder:
    """The images below a folder at several resize factors, with their style vectors where they have some.

    num_dims: D that the vectors must have; None for images that are taken without any.  prefix: how paths below the
    folder must begin.  generator: SHA-256 of the weights that latents which say so must be of, None for any.
    identity: what tells these images from others.
    Raises InputError naming an image without latents, damaged latents, those of another generator, and images that are
    degraded already.
    """

    def __init__(self, path, factors, size, num_dims=None, memory_gb=4.0, prefix="", generator=None):
        self.path, self.factors, self.size, self.num_dims, self.generator = path, factors, size, num_dims, generator
        self.pairs = [pair for pair in find_pairs(path, need_latents=num_dims is not None)
                      if pair.name.startswith(prefix)]
        if not self.pairs:
            raise InputError(f"no image whose path begins with '{prefix}'", where=path,
                             do="Correct --generated_data_dir_prefix")
        fits = num_dims is not None and 4 * num_dims * len(self.pairs) <= TRUTH_GB * 1e9
        self.truth = np.empty((len(self.pairs), num_dims), np.float32) if fits else None
        self.identity = {"images": len(self.pairs), "sha256": self._read_truth()}
        views = len(factors) + 1  # the last one is the image itself
        self.cache = ImageCache(self._load, len(self.pairs) * views, (size, size, 3), memory_gb)

    def __len__(self):
        return len(self.pairs)

    @property
    def damaged(self):
        """Number of images that turned out to be unreadable so far."""
        bad = self.cache.state.reshape(len(self), -1) == DAMAGED
        return int(bad.any(axis=1).sum())

    def _read_truth(self):
        """Check all latents; return the SHA-256 of names, marks of the images' contents, and style vectors."""
        digest, marks = hashlib.sha256(), file_marks([pair.image for pair in self.pairs])
        with console.progress("checking", len(self), unit="images", after=5) as advance:
            for place, (pair, mark) in enumerate(zip(self.pairs, marks)):
                digest.update(f"{pair.name} {mark}\n".encode(errors="surrogateescape"))
                if self.num_dims is not None:
                    vector = self._vector(pair)
                    digest.update(vector.tobytes())
                    if self.truth is not None:
                        self.truth[place] = vector
                advance()
        return digest.hexdigest()

    def _vector(self, pair):
        latents = read_latents(pair.latents, self.num_dims)
        if latents.record.get("resize_factor", 1) != 1:
            raise InputError(f"its image is degraded by {latents.record['resize_factor']} already", where=pair.latents,
                             do="Pass the folder of factor 1: training degrades the images itself")
        if self.generator is not None and latents.record.get("generator", self.generator) != self.generator:
            raise InputError("comes from a different generator than --stylegan_weights", where=pair.latents,
                             do="Pass the generator that made the images")
        return latents.style_vectors

    def vectors(self, places):
        """Return the style vectors (n, D) float32 of images by place."""
        if self.truth is not None:
            return self.truth[places]
        return np.stack([self._vector(self.pairs[place]) for place in places])

    def pixels(self, places, views):
        """Return uint8 (n, S, S, 3) of images by place, each degraded by factors[view]; -1 for the image itself.

        Raises InputError naming an image that cannot be read.
        """
        pixels, good = self.read(places, views)
        if not good.all():
            self._view(places[int(good.argmin())], len(self.factors))
        return pixels

    def read(self, places, views):
        """Return (what `pixels` does, good (n,)): an image that cannot be read is black, and not good."""
        count = len(self.factors) + 1
        return self.cache.read(np.asarray(places) * count + np.asarray(views) % count)

    def check(self):
        """Raise InputError naming the first image that cannot be read."""
        for place in range(len(self)):
            self._view(place, len(self.factors))

    def _load(self, numbers):
        places, images = [], []
        for place, number in enumerate(numbers):
            with contextlib.suppress(InputError):  # counted; another one takes its place
                images.append(self._view(*divmod(int(number), len(self.factors) + 1)))
                places.append(place)
        return places, np.array(images, np.uint8).reshape(-1, *self.cache.shape)

    def _view(self, place, view):
        path = self.pairs[place].image
        with system_errors(path):
            image = decode(read_regular(path), path)
        return resized(image, self.size) if view == len(self.factors) else \
            degrade(image, self.factors[view], self.size)

    def batches(self, rows, view, batch_size, workers):
        """Yield (inputs (n, 3, S, S), truth (n, D)) of rows, in order, at factors[view]."""
        parts = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]

        def read(part):
            return network_input(self.pixels(part, np.full(len(part), view))), self.vectors(part)

        with ThreadPoolExecutor(max(workers, 1)) as pool:
            yield from pool.map(read, parts) if workers else map(read, parts)


class Batches:
    """The rows of training batches, each drawn from (seed, step, row) alone.

    generated: a Folder with style vectors; its images go through seeded permutations.  real: one without, or None.
    share: probability of the former.  probabilities: of the factors.  centre: (D,), subtracted from the vectors.
    targets: whether the images themselves are needed, for image losses.
    """

    def __init__(self, generated, real, share, probabilities, centre, seed, batch, targets):
        self.generated, self.real, self.share, self.seed, self.batch = generated, real, share, seed, batch
        self.steps, self.centre, self.targets = np.cumsum(probabilities), centre, targets
        self.epochs = Epochs(len(generated), seed, batch)

    def draw(self, step, first, last):
        """Return (inputs (n, 3, S, S), images like them or nothing (n, 0), truth (n, D) less the centre, NaN where
        there is none, weights (n,)) of rows [first, last): all float32.

        weights: 0 without truth, else such that their sum over the whole batch is its size.
        """
        picks = [self._pick(step, row) for row in range(self.batch)]
        known = sum(folder is self.generated for folder, _, _ in picks)
        inputs, images, truth, weights = [], [], [], []
        for row, (folder, place, view) in enumerate(picks[first:last], first):
            place, pixels = self._readable(folder, place, view, step, row)
            inputs.append(pixels)
            images.append(folder.pixels([place], [-1]) if self.targets else np.zeros((1, 0), np.uint8))
            has_truth = folder is self.generated
            truth.append(folder.vectors([place]) - self.centre if has_truth else
                         np.full((1, len(self.centre)), np.nan, np.float32))
            weights.append(self.batch / known if has_truth else 0.0)
        targets = network_input(np.concatenate(images)) if self.targets else torch.zeros(last - first, 0)
        return (network_input(np.concatenate(inputs)), targets, torch.from_numpy(np.concatenate(truth)),
                torch.tensor(weights, dtype=torch.float32))

    def _readable(self, folder, place, view, step, row):
        """Return (place, pixels (1, S, S, 3)) of an image, of another draw where it cannot be read."""
        pixels, good = folder.read([place], [view])
        another = unit_numpy(self.seed, "another", step, row)
        for _ in range(ATTEMPTS):
            if good[0]:
                return place, pixels
            place = int(another.integers(len(folder)))
            pixels, good = folder.read([place], [view])
        return place, folder.pixels([place], [view])

    def _pick(self, step, row):
        """Return (folder, place, view) of a row."""
        generator = unit_numpy(self.seed, "pick", step, row)
        kind, place, level = generator.random(3)
        view = min(int(np.searchsorted(self.steps, level, side="right")), len(self.steps) - 1)
        if self.real is not None and kind >= self.share:
            return self.real, int(place * len(self.real)), view
        return self.generated, int(self.epochs(step - 1, row)), view
