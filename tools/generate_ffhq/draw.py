"""Drawing images and writing them with their latents: image n depends on the weights and on (seed, n) alone."""

import time
from dataclasses import dataclass

from common import parallel
from common.errors import InputError
from common.files import TEMPORARY
from common.numerals import counted
from common.units import is_whole_png, make_pipelined, stored_arrays
from tools.generate_ffhq.layout import PREVIEW

STATISTICS_CODES = 1600  # 50 batches of 32, as published
PREVIEWED, TILE = 8, 128  # images in a row of the preview, and the largest side of one in pixels


@dataclass
class Picture:
    """One image: its number, codes (D,) and (num_latents, style_dim) float32, and uint8 pixels (H, W, 3)."""

    number: int
    style_vectors: object
    wplus: object
    pixels: object


class Generation:
    """The work of one job."""

    def __init__(self, options, layout, generator, device):
        self.options, self.layout, self.generator, self.device = options, layout, generator, device
        self.network, self.vectors = generator.network, None
        size = 1 if device.type == "cpu" else options.batch_size
        numbers = list(layout.numbers)
        self.units = [numbers[start : start + size] for start in range(0, len(numbers), size)]

    def rehearse(self):
        """Return (line, results) of --dry_run."""
        folders = ", ".join(map(str, self.layout.folders.values()))
        return f"would generate {counted(self.options.num_images, 'image')} of {self.network.size} px into {folders}", \
            self.results()

    def results(self):
        """Return what is known of the images before they are made."""
        sizes = {factor: self.network.size if factor == 1 else self.options.encoder_size
                 for factor in self.layout.factors}
        return {"num_images": self.options.num_images, "first_index": self.layout.first,
                "factors": self.layout.factors, "folders": [str(self.layout.folders[factor]) for factor in sizes],
                "sizes": {str(factor): side for factor, side in sizes.items()}, "image_size": self.network.size,
                "num_dims": sum(self.network.widths), "num_latents": self.network.num_latents,
                "generator": self.generator.sha256, "centre": self.generator.centre_from}

    def work(self):
        """Make the missing images; returns (results, files)."""
        if parallel.is_main():
            self._prepare()
        more = self._statistics()
        parallel.barrier()  # the folders are ready
        began = time.monotonic()
        missing = make_pipelined(self.units, self.is_complete, lambda unit: unit, self.make, self.write, "images",
                                 workers=1)
        seconds, made = max(time.monotonic() - began, 1e-9), sum(map(len, missing))
        if not parallel.is_main():
            return {}, []
        rate = {"images_per_second": round(made / seconds, 3)} if made else {}
        return {**self.results(), **more, **rate}, [self.save_preview(), *self.layout.folders.values()]

    def _prepare(self):
        """Make the folders and remove what a killed run left in them."""
        for folder in self.layout.folders.values():
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.rglob(f".*{TEMPORARY}"):
                if not leftover.name.startswith(".outputs"):  # of another command, which may be running
                    leftover.unlink(missing_ok=True)

    def _statistics(self):
        """Write the statistics, in the main process, and keep them where latents files hold them, too."""
        from tools.generate_ffhq.statistics import read_or_write

        writes = parallel.is_main() and not self.options.no_stats
        if not writes and not self.options.latent_stats:
            return {}
        folders = list(self.layout.folders.values()) if writes else []
        statistics = read_or_write(folders, self.generator, STATISTICS_CODES)
        self.vectors = statistics if self.options.latent_stats else None
        return {"num_codes": statistics.num_codes}

    def is_complete(self, unit):
        """True when the images of a unit and their latents are there and whole, at every factor."""
        return all(self.is_stored(factor, number) for number in unit for factor in self.layout.factors)

    def is_stored(self, factor, number):
        """True when one image and its latents are there and whole."""
        names = ("style_vectors", "wplus", "index")
        return is_whole_png(self.layout.image(factor, number)) \
            and stored_arrays(self.layout.latents(factor, number), names) is not None

    def make(self, unit):
        """Return the Pictures of a unit: read where they lie at factor 1, else drawn."""
        if self.layout.kind != "separate" and all(self.is_stored(1, number) for number in unit):
            return [self._read(number) for number in unit]
        return self.draw(unit)

    def _read(self, number):
        from common.datasets.latents import read_latents
        from common.images.decode import decode

        image, latents = self.layout.image(1, number), read_latents(self.layout.latents(1, number))
        return Picture(number, latents.style_vectors, latents.wplus, decode(image.read_bytes(), image))

    def draw(self, numbers):
        """Return new Pictures."""
        import torch

        from common.networks.stylegan2 import truncate
        from common.seeding import unit_generator

        network, options = self.network, self.options
        with torch.inference_mode():
            z = torch.stack([torch.randn(network.config.style_dim, generator=unit_generator(options.seed, "z", number))
                             for number in numbers]).to(self.device)
            wplus = network.wplus(network.mapping(z))
            wplus = truncate(wplus, self.generator.centre[None], options.truncation).contiguous()
            vectors = network.style_vectors(wplus)
            pixels = self.render(numbers, vectors)
        return [Picture(*parts) for parts in zip(numbers, vectors.cpu().numpy(), wplus.cpu().numpy(), pixels)]

    def render(self, numbers, vectors):
        """Return uint8 images (n, H, W, 3) of StyleSpace codes (n, D) on the device; InputError naming the first one
        that is not finite."""
        from common.images.pixels import rounded_bytes

        options, noise = self.options, self.options.noise
        maps = self.network.draw_noise(numbers, options.seed) if noise == "seeded" else noise
        images = self.network.synthesise(vectors, maps)
        finite = images.flatten(1).isfinite().all(dim=1).tolist()
        if not all(finite):
            raise InputError(f"image {numbers[finite.index(False)]} holds NaN or infinite values",
                             where=options.stylegan_path, do="Use a smaller --truncation, or other weights")
        return rounded_bytes(images)

    def seen(self, pixels, factor):
        """Return an image as it is stored at a factor."""
        from common.datasets.degradations import degrade

        return pixels if factor == 1 else degrade(pixels, factor, self.options.encoder_size)

    def write(self, pictures):
        """Write Pictures at every factor, the latents before the image."""
        from common.files import write_npz, write_png

        for picture in pictures:
            for factor in self.layout.factors:
                if not self.is_stored(factor, picture.number):
                    write_npz(self.layout.latents(factor, picture.number), compressed=False, sync=False,
                              **self.arrays(picture, factor))
                    write_png(self.layout.image(factor, picture.number), self.seen(picture.pixels, factor), sync=False)

    def arrays(self, picture, factor):
        """Return the {key: array} of a latents file."""
        import numpy as np

        from common.style_space import style_dims

        arrays = {"style_vectors": picture.style_vectors[None], "wplus": picture.wplus,
                  "style_dims": style_dims(self.network.widths)}
        arrays |= {name: np.array(value) for name, value in self.recorded(picture.number, factor).items()}
        for name in ("mean", "min", "max") if self.vectors is not None else ():
            arrays[f"{name}_style_space_vector"] = getattr(self.vectors, name)
        return arrays

    def recorded(self, number, factor):
        """Return {name: number or text} of how an image is made, as its latents file has it."""
        options = self.options
        return {"seed": options.seed, "index": number, "truncation": options.truncation, "resize_factor": factor,
                "noise": options.noise, "generator": self.generator.sha256}

    def save_preview(self):
        """Write the first images as a grid, a row for each factor; return its path."""
        import numpy as np
        from PIL import Image

        from common.images.decode import decode
        from common.images.grids import save_grid

        numbers = self.layout.numbers[:PREVIEWED]
        paths = [self.layout.image(factor, number) for factor in self.layout.factors for number in numbers]
        side = min(TILE, max(self.results()["sizes"].values()))
        tiles = [Image.fromarray(decode(path.read_bytes(), path)).resize((side, side), Image.Resampling.LANCZOS)
                 for path in paths]
        path = self.layout.root / PREVIEW
        save_grid(path, np.stack([np.asarray(tile) for tile in tiles]), columns=len(numbers),
                  scale=max(1, TILE // 2 // side))
        return path
