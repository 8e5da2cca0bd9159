"""Drawing layouts, rendering them and writing both: image i depends on the weights and on (seed, i) alone."""

import glob
import time
from dataclasses import dataclass, field
from pathlib import Path

from common import parallel
from common.errors import InputError
from common.files import TEMPORARY
from common.numerals import counted
from common.units import is_whole_png, make_pipelined, stored_arrays

FOLDERS = {"imgs": "", "layouts": "save_layouts", "blobs": "save_blobs", "blobs_labeled": "label_blobs"}  # and flags
DIGITS = range(4, 9)  # of the number that is an image's name
PREVIEW, PREVIEWED, TILE = "preview.png", 8, 128  # images in a row of it, and the height of one in pixels


@dataclass
class Picture:
    """What is to be written of one image: {folder: uint8 pixels (H, W, 3)}, and its StoredLayout or None."""

    name: str
    pixels: dict = field(default_factory=dict)
    layout: object = None


class Generation:
    """The work of one job. layouts: StoredLayouts that are given, or None to draw them."""

    def __init__(self, options, model, layouts, sha256, device):
        from common.generators.blobgan import together

        self.options, self.model, self.layouts, self.sha256 = options, model, layouts, sha256
        self.folder, self.device = Path(options.save_dir), device
        self.folders = [name for name, flag in FOLDERS.items() if not flag or getattr(options, flag)]
        self.together = together(model)  # on a CPU, always the same neighbours
        size = self.together or options.batch_size
        self.units = [range(start, min(start + size, options.n_imgs)) for start in range(0, options.n_imgs, size)]

    def owns(self):
        """Return names and patterns of the files, relative to the folder: a user's own may lie beside them."""
        names = [glob.escape(layout.name) for layout in self.layouts] if self.layouts else \
            ["[0-9]" * digits for digits in DIGITS]
        files = [self.path(folder, name) for folder in FOLDERS for name in names]
        return [PREVIEW, *(str(path.relative_to(self.folder)) for path in files)]

    def rehearse(self):
        """Return (line, results) of --dry_run."""
        height, width = self.results()["image_size"]
        return f"would generate {counted(self.options.n_imgs, 'image')} of {height} x {width} px into {self.folder}", \
            self.results()

    def results(self):
        """Return what is known of the images before they are made."""
        options, config = self.options, self.model.config
        own = any(layout.draw for layout in self.layouts) if self.layouts else not options.fixed_spatial_noise
        blobs = self.layouts[0].blobs.xs.shape[1] if self.layouts else self.model.num_blobs
        return {"num_images": options.n_imgs, "image_size": [config.resolution, config.columns], "num_blobs": blobs,
                "folders": [str(self.folder / name) for name in self.folders], "generator": self.sha256,
                "weights": self.model.weights, "step": self.model.step, "noise": "seeded" if own else "fixed"}

    def work(self):
        """Make the missing images; returns (results, files)."""
        if parallel.is_main():
            for name in self.folders:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
                for leftover in (self.folder / name).glob(f".*{TEMPORARY}"):
                    leftover.unlink(missing_ok=True)
        if self.options.truncate and not self.layouts:
            self._mean_latent()
        parallel.barrier()  # the folders are ready
        began = time.monotonic()
        missing = make_pipelined(self.units, self.is_complete, lambda unit: unit, self.make, self.write, "images",
                                 workers=2)
        seconds, made = max(time.monotonic() - began, 1e-9), sum(map(len, missing))
        if not parallel.is_main():
            return {}, []
        rate = {"images_per_second": round(made / seconds, 3)} if made else {}
        return {**self.results(), **rate}, [self.save_preview(), *(self.folder / name for name in self.folders)]

    def _mean_latent(self):
        """Compute the mean latent in the main process; the others find it in the cache."""
        if parallel.is_main():
            self.model.mean_latent()
        parallel.barrier()

    def name(self, number):
        """Return the name of an image without its suffix."""
        return self.layouts[number].name if self.layouts else f"{number:04d}"

    def path(self, folder, name):
        """Return the path of an image's file in one of the folders."""
        return self.folder / folder / f"{name}{'.npz' if folder == 'layouts' else '.png'}"

    def is_complete(self, unit):
        """True when all files of a unit's images are there and whole."""
        return all(self.is_stored(folder, self.name(number)) for number in unit for folder in self.folders)

    def is_stored(self, folder, name):
        """True when one file is there and whole."""
        from common.networks.blobgan.layout_files import NAMES

        path = self.path(folder, name)
        return stored_arrays(path, NAMES) is not None if folder == "layouts" else is_whole_png(path)

    def make(self, unit):
        """Return the Pictures of a unit."""
        import torch

        from common.generators.blobgan import noise_maps
        from common.images.pixels import rounded_bytes
        from common.networks.blobgan.layout import select, to
        from common.networks.blobgan.layout_files import StoredLayout

        with torch.no_grad():
            blobs, draws = self.draw(unit)
            pictures = [Picture(self.name(number)) for number in unit]
            if not all(self.is_stored("imgs", picture.name) for picture in pictures):
                images = self.model.render(blobs, noise_maps(self.model, draws))
                self.check_finite(pictures, images)
                for picture, pixels in zip(pictures, rounded_bytes(images)):
                    picture.pixels["imgs"] = pixels
        own = to(select(blobs, slice(len(unit))), "cpu")
        for folder in self.folders:
            if folder.startswith("blobs"):
                for picture, pixels in zip(pictures, self.blob_pictures(own, folder == "blobs_labeled")):
                    picture.pixels[folder] = pixels
        for row, picture in enumerate(pictures):
            picture.layout = StoredLayout(picture.name, select(own, slice(row, row + 1)), draws[row])
        return pictures

    def check_finite(self, pictures, images):
        """Raise InputError naming the first picture that is not finite: it would be written black."""
        finite = images[: len(pictures)].flatten(1).isfinite().all(dim=1).tolist()
        wrong = next((picture.name for picture, good in zip(pictures, finite) if not good), None)
        if wrong is not None:
            given = self.options.layouts
            raise InputError(f"the picture of '{wrong}' holds NaN or infinite values",
                             where=given or self.options.checkpoint,
                             do="Correct its layout" if given else "Use an earlier checkpoint")

    def draw(self, unit):
        """Return (Blobs on the device, [(seed, number) or None of each one's noise]) of a unit.

        Drawn ones may be more than the unit has: a CPU computes the same neighbours whatever the number of images.
        """
        from common.generators.blobgan import draw_layouts
        from common.networks.blobgan.layout import cat, to

        if self.layouts:
            chosen = [self.layouts[number] for number in unit]
            return to(cat([layout.blobs for layout in chosen]), self.device), [layout.draw for layout in chosen]
        options = self.options
        numbers = range(unit.start, unit.start + self.together) if self.together else unit
        own = [None if options.fixed_spatial_noise else (options.seed, number) for number in numbers]
        return draw_layouts(self.model, numbers, options.seed, options.truncate), own

    def blob_pictures(self, blobs, labels):
        """Return uint8 pictures (n, H, W, 3) of Blobs."""
        from common.networks.blobgan.splat import blob_picture

        config = self.model.config
        pictures = blob_picture(blobs, config.resolution, config.aspect_ratio, self.options.palette, labels,
                                self.options.size_threshold)
        return pictures.permute(0, 2, 3, 1).contiguous().numpy()

    def write(self, pictures):
        """Write what is missing of Pictures."""
        from common.files import write_png
        from common.networks.blobgan.layout_files import write_layout

        for picture in pictures:
            if "layouts" in self.folders and not self.is_stored("layouts", picture.name):
                write_layout(self.path("layouts", picture.name), picture.layout, sync=False)
            for folder, pixels in picture.pixels.items():
                if not self.is_stored(folder, picture.name):
                    write_png(self.path(folder, picture.name), pixels, sync=False)

    def save_preview(self):
        """Write the first images as a grid, with the pictures of their blobs below; return its path."""
        import numpy as np
        from PIL import Image

        from common.images.decode import decode
        from common.images.grids import save_grid

        names = [self.name(number) for number in range(min(PREVIEWED, self.options.n_imgs))]
        paths = [self.path(folder, name) for folder in self.folders if folder != "layouts" for name in names]
        height, width = self.results()["image_size"]
        side = min(TILE, height)
        tiles = [Image.fromarray(decode(path.read_bytes(), path)).resize((round(side * width / height), side),
                                                                         Image.Resampling.LANCZOS) for path in paths]
        save_grid(self.folder / PREVIEW, np.stack([np.asarray(tile) for tile in tiles]), columns=len(names),
                  scale=max(1, TILE // 2 // side))
        return self.folder / PREVIEW
