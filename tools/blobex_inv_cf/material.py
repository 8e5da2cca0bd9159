"""What a run reads: the BlobGAN, the encoder, the explained model, the perceptual distance, the images."""

import zlib
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch

from common import console
from common.blobs.inversion import InversionWeights
from common.blobs.metadata import check_widths, note_other_weights, read_inversions, read_marks, widths_of
from common.blobs.perceptual import open_perceptual
from common.datasets.prepared import open_prepared, to_network
from common.errors import InputError
from common.explained.opening import open_explained
from common.files import file_hash
from common.formats.checkpoints import weights_hash
from common.generators.blobgan import draw_layouts
from common.networks.blobgan.encoder_files import read_encoder
from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.layout import cat, select, to
from common.seeding import unit_generator

CLASSIFIERS = ("attributes", "classes")  # kinds of decision models
DRAWS = 2000  # layouts whose sizes bound those of a search


class Material:
    """gan: BlobGAN.  encoder: None where nothing is encoded.  explained: Explained.  perceptual: None without one.
    images: PreparedImages, None for generated ones.  inversions: ({name: row}, Blobs, {name: mark of its pixels}) that
    were given, or None.  segmentation: Program of --target_classes, or None."""

    def __init__(self, options, device):
        self.options, self.device = options, device
        self.gan = read_blobgan(options.blobgan_weights, device, "raw" if options.live_weights else "ema",
                                "--live_weights")
        self.transform = self.gan.config.transform
        self.explained = open_explained(options.decision_model_weights, device, options.objective,
                                        tuple(options.size) or None, options.range, options.output,
                                        options.class_names, options.threshold, self.transform.size)
        self._check_size()
        if options.class_names and self.explained.description["kind"] in CLASSIFIERS and not options.target_classes:
            raise InputError("acts on programs, a decision model names its own", where="--class_names",
                             do="Leave it out")
        self.images = self.inversions = self.encoder = None
        if options.real_images:
            if options.dataset_path is None:
                raise InputError("which images?", where="--dataset_path", do="Pass a folder of images, or "
                                 "--noreal_images for generated ones")
            self.images = open_prepared(options.dataset_path, "train", self.transform, memory_gb=0)
            self.images.check_apart(options.output_dir)
            self.images.instead = "it is left out"
            self._check_images()
        inverts = options.real_images and not options.load_inversion
        if options.real_images:
            self.gan.check_encodable(options.blobgan_weights)
        if options.load_inversion:
            self.inversions = self._given_inversions()
            self._check_inverted()
        elif options.inversions_path is not None:
            raise InputError("is read with --load_inversion alone", where="--inversions_path", do="Pass both, or none")
        needs = "--lambda_inv_lpips" if inverts and options.lambda_inv_lpips else None
        self.perceptual = open_perceptual(options.lpips_weights, options.perceptual, device, needs)
        if inverts and options.init != "mean":
            self.encoder = read_encoder(options.encoder_weights, self.gan, device)
        self.weights = InversionWeights(options.lambda_inv_lpips, options.lambda_inv_l2,
                                        options.lambda_inv_decision_fm, options.lambda_inv_latent_prox)
        if inverts and not any(astuple(self.weights)):
            raise InputError("all weights of the inversion are 0: nothing is compared", where="--lambda_inv_*",
                             do="Give one, or start from stored blobs with --load_inversion")
        self.segmentation = self._segmentation()
        if inverts and options.coarse:
            self._check_coarse()

    def _segmentation(self):
        """Return the Program whose classes choose blobs, None without --target_classes."""
        options = self.options
        if bool(options.target_classes) != (options.segmentation_weights is not None):
            raise InputError("belong together", where="--target_classes, --segmentation_weights",
                             do="Pass both, or none")
        if not options.target_classes:
            return None
        path = options.segmentation_weights
        try:
            return open_explained(path, self.device, [f"share:{name}" for name in options.target_classes],
                                  value_range=options.segmentation_range, class_names=options.class_names,
                                  shape=self.transform.size)
        except InputError as error:
            share = "--objective share:"  # which stands for a class
            if not str(error.where).startswith(share):
                raise
            if error.what.startswith("no class"):
                raise InputError(error.what, where=f"--target_classes {error.where.removeprefix(share)}",
                                 do=error.do) from error
            raise InputError(error.what, where=f"--segmentation_weights {path}",
                             do="Give a segmentation model that has the classes of --target_classes") from error

    def _check_coarse(self):
        """Raise InputError where a network of the first steps of --coarse takes no pictures of half the size."""
        options, (height, width) = self.options, self.transform.size
        half = torch.zeros(1, 3, height // 2, width // 2, device=self.device)
        try:
            with torch.no_grad():
                if options.lambda_inv_lpips:
                    self.perceptual.features(half)
                if options.lambda_inv_decision_fm:
                    self.explained.features(half)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"a network that is compared by takes no pictures of {height // 2} x {width // 2}",
                             where=f"--coarse {options.coarse}", do="Leave it out") from error

    def _check_images(self):
        """Raise InputError where not one of the images can be read."""
        if not any(self._is_readable(number) for number in range(self.count)):
            raise InputError("none of the images can be read", where=self.options.dataset_path,
                             do="Restore them, or pass others")

    def _is_readable(self, number):
        try:
            self.images.images.read([number])
        except InputError:
            return False
        return True

    def _check_size(self):
        size = self.explained.size
        if size is not None and tuple(size) != self.transform.size:
            raise InputError(f"it takes images of {size[0]} x {size[1]}, the BlobGAN makes "
                             f"{self.transform.height} x {self.transform.width}",
                             where=self.options.decision_model_weights, do="Use models of one size")

    def _given_inversions(self):
        options = self.options
        if not options.real_images or options.inversions_path is None:
            raise InputError("needs images and --inversions_path", where="--load_inversion",
                             do="Pass the all_inversions.pt of these images")
        names, blobs = read_inversions(options.inversions_path)
        check_widths(widths_of(blobs), self.gan.config, options.inversions_path)
        note_other_weights(options.inversions_path, self.gan)
        return {name: row for row, name in enumerate(names)}, blobs, read_marks(options.inversions_path)

    def _check_inverted(self):
        """Raise InputError where images have no inversion."""
        missing = [name for name in self.names(0, self.count) if name not in self.inversions[0]]
        if missing:
            more = f" and of {len(missing) - 1:,} others" if len(missing) > 1 else ""
            raise InputError(f"it has no inversion of '{missing[0]}'{more}", where=self.options.inversions_path,
                             do="Invert these images first, or pass the file that holds them")

    @property
    def count(self):
        """How many images there are to explain."""
        options = self.options
        if self.images is None:
            return options.num_imgs
        return len(self.images) if options.max_images is None else min(len(self.images), options.max_images)

    def batches(self):
        """Return [(first, last)] of the units: --bs images each, the last one fewer."""
        size = self.options.bs
        return [(first, min(first + size, self.count)) for first in range(0, self.count, size)]

    def names(self, first, last):
        """Return the names of images [first, last), None for generated ones."""
        if self.images is None:
            return None
        return [self.images.title(number) for number in range(first, last)]

    def read(self, first, last):
        """Return (names, images (B, 3, H, W) in [-1, 1] on the device, marks of their pixels, {name: why} of those left
        out) of [first, last): images that cannot be read, and those that are not what was inverted; both are named."""
        pixels, good = self.images.read(list(range(first, last)))
        marks = [f"{zlib.crc32(np.ascontiguousarray(row)):08x}" for row in pixels]
        left_out, known = {}, self.inversions[2] if self.inversions else {}
        for place, name in enumerate(self.names(first, last)):
            if not good[place]:
                left_out[name] = "unreadable"
            elif known.get(name, marks[place]) != marks[place]:
                left_out[name] = "changed"
                console.say(f"note: {name}: another picture than the one that was inverted; it is left out")
                good[place] = False
        names, marks = ([value for value, kept in zip(values, good) if kept]
                        for values in (self.names(first, last), marks))
        return names, to_network(pixels[good]).to(self.device), marks, left_out

    def drawn(self, first, last):
        """Return the Blobs of generated images [first, last), the layouts that generate_blobgan draws."""
        with torch.no_grad():
            return draw_layouts(self.gan, range(first, last), self.options.seed, self.options.truncation)

    def inverted(self, names):
        """Return the given Blobs of images of these names."""
        rows, blobs, _ = self.inversions
        return to(cat([select(blobs, slice(rows[name], rows[name] + 1)) for name in names]), self.device)

    def bounds(self):
        """Return {tensor: (low, high)} of a search: the canvas, and for each blob the sizes that layouts have."""
        if self.options.bounds == "off":
            return {}
        z = torch.randn(DRAWS, self.gan.layout_net.noise_dim, generator=unit_generator(0, "bounds of sizes"))
        with torch.no_grad():
            sizes = self.gan.layouts(z.to(self.device)).sizes
        return {"xs": (0.0, 1.0), "ys": (0.0, 1.0), "sizes": (sizes.amin(dim=0), sizes.amax(dim=0))}

    def derived(self):
        """Return what shapes results beside the flags."""
        options = self.options
        found = {"contents of blobgan_weights": weights_hash(self.gan),
                 "contents of decision_model_weights": self.explained.description["sha256"],
                 "contents of encoder_weights": None if self.encoder is None else file_hash(options.encoder_weights),
                 "images": None if self.images is None else self.images.fingerprint()}
        for name in ("lpips_weights", "perceptual", "inversions_path", "segmentation_weights"):
            path = getattr(options, name)
            found[f"contents of {name}"] = None if path is None else file_hash(path)
        return found

    def inputs(self):
        """Return the paths that are read."""
        options = self.options
        paths = [options.blobgan_weights, options.decision_model_weights, options.dataset_path, options.lpips_weights,
                 options.perceptual, options.inversions_path, options.segmentation_weights,
                 options.encoder_weights if self.encoder else None]
        return [Path(path) for path in paths if path is not None]
