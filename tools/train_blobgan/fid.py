"""FID of the averaged networks while they are trained, measured by all processes together.

The images are those that compute_fid makes of a checkpoint (common/generators/blobgan.py), from the seed and their
numbers alone. Every process makes and encodes a share of them; nothing is stored.
"""

from common import console, parallel
from common.errors import InputError
from common.features import small_features
from common.features.reference import find_reference, read_reference
from common.features.resize import AsTrained
from common.features.sources import open_images
from common.features.spaces import open_space
from common.features.statistics import Statistics, frechet
from common.files import file_hash
from common.generators.blobgan import BlobGANGenerator, together
from common.images.pixels import to_bytes
from common.metrics.frechet import FeatureStatistics
from common.networks.blobgan.files import BlobGAN

STORED = (".npz", ".pkl", ".pickle", ".pt")  # files of statistics


class LiveGenerator(BlobGANGenerator):
    """The averaged networks of a training, as a generator."""

    def __init__(self, model):
        self.model, self.truncation, self.fit, self._chunk = model, 0.0, model.config.transform.rule, (None, {})
        self.name, self.resolution = "this training", (model.config.resolution, model.config.columns)

    def forget(self):
        """Forget the images of weights that have changed since."""
        self._chunk = None, {}


class Fid:
    """Measures the Frechet distance of the averaged networks from a reference.

    averaged: {generator_ema, layout_net_ema}.  Statistics are read when this is made, and compared: raises InputError
    for those that are missing, or of another transform than the training images. Images are encoded by `prepare`.
    """

    def __init__(self, options, config, averaged, device):
        self.options = options
        self.generator = LiveGenerator(BlobGAN(config, averaged["layout_net_ema"], averaged["generator_ema"]))
        self.space = open_space(options.extractor, "clean", options.fid_weights, device)
        self.reference = self._open_statistics()

    def _open_statistics(self):
        """Return the Statistics of --fid_stats_name or --reference, None where that is images."""
        options = self.options
        path = _place(options)
        if not is_stored(path):
            return None
        return read_reference(path, self.space, self.generator.resolution, self.generator.fit, "this training",
                              options.any_stats)

    def prepare(self):
        """Encode the reference where it is images, prepared as the training's are; called in all processes, within
        their group."""
        from common.features.encode import encode

        if self.reference is not None:
            return
        options = self.options
        images = open_images(options.reference, data_dir=options.data_dir)
        change = AsTrained(self.generator.resolution, self.generator.fit)
        encoded = encode(images, self.space, options.fid_batch_size, max(options.num_workers, 1), change,
                         label="features of the reference")
        self.reference = encoded.statistics()

    def __call__(self, step):
        """Return {train/fid: the distance} of the averaged networks as they are."""
        self.generator.forget()
        count, size, rank = self.options.fid_n_imgs, parallel.world_size(), parallel.rank()
        unit = together(self.generator.model) or 1  # images that are computed together stay in one process
        chunks = -(-count // unit)
        own = range(rank * chunks // size * unit, min((rank + 1) * chunks // size * unit, count))
        total = FeatureStatistics(self.space.width)
        with console.progress(f"FID of step {step:,}", len(own), unit="images", after=5) as advance:
            for first in range(own.start, own.stop, self.options.fid_batch_size):
                numbers = range(first, min(first + self.options.fid_batch_size, own.stop))
                total.add(self._features(numbers))
                advance(len(numbers))
        whole = FeatureStatistics(self.space.width)
        for part in parallel.gather_objects(total):
            whole.merge(part)
        made = Statistics(whole.mean, whole.covariance(), whole.count, path="this training")
        return {"train/fid": frechet(made, self.reference)}

    def _features(self, numbers):
        """Return the features of the images of these numbers; InputError where a picture is not finite."""
        pixels = self.generator.generate(numbers, self.options.seed)
        images = pixels.permute(0, 2, 3, 1).float().cpu().numpy()
        return self.space.encode([self.space.prepare(to_bytes(image)) for image in images])[0]


def reference_identity(options):
    """Return the hash of what FID is compared with, None without FID; InputError where it is missing."""
    if not wants_fid(options):
        return None
    place = _place(options)
    if is_stored(place):
        return file_hash(place)
    return open_images(place, data_dir=options.data_dir).identity()


def _place(options):
    """Return where the reference is, images or statistics."""
    model = "" if options.extractor == "inception" else small_features.NAME
    return find_reference(model, options.reference, options.fid_stats_name, options.stats_dir)


def is_stored(place):
    """Return whether a place is a file of statistics, not images."""
    return str(place).lower().endswith(STORED) and not _holds_images(place)


def _holds_images(place):
    from common.datasets.sets.npz import IMAGE_KEYS
    from common.formats.npz import npz_names

    names = set(npz_names(place)) if str(place).lower().endswith(".npz") else set()
    return bool(names & set(IMAGE_KEYS)) and not {"mu", "sigma"} <= names


def wants_fid(options):
    """Return whether the flags ask for FID while training; InputError where they do not say of what, or what for."""
    asked = options.log_fid_every_n_steps > 0 or options.log_fid_every_epoch
    given = [name for name in ("fid_stats_name", "reference") if getattr(options, name) is not None]
    if asked and not given:
        raise InputError("no statistics to compare with", where="--log_fid_every_n_steps",
                         do="Pass --fid_stats_name NAME or --reference PLACE")
    if len(given) == 2:
        raise InputError("cannot be used with --reference: choose one", where="--fid_stats_name",
                         do="Leave one out")
    if options.monitor == "train/fid" and not asked:
        raise InputError("no FID is measured", where="--monitor train/fid", do="Pass --log_fid_every_n_steps")
    return asked
