"""Where images and latents go: the three documented trees."""

from pathlib import Path

from common import console
from common.errors import InputError, Parameter
from common.flags import parse_factors
from common.options import is_given
from common.paths import ExperimentDir

FILES = ("img_*.png", "latents_*.npz", "style_statistics.npz", "*_style_space_vector.npy")
DIGITS = "[0-9]" * 5  # of a sub-folder's name
PREVIEW = "preview.png"


def root_of(options):
    """Return the folder of a job: all that it writes lies below it, the record in it."""
    if options.layout == "generated":
        return Path(options.output_base_dir) / "generated"
    tree = ExperimentDir(options.base_dir, options.exp_name)
    return tree.separate_images if options.layout == "separate" else tree.images(1).parent


class Layout:
    """The files of one job. factors: ascending.  folders: {factor: folder}.  numbers: of the images."""

    def __init__(self, options):
        self.root, self.kind = root_of(options), options.layout
        for name in ("base_dir", "exp_name") if self.kind == "generated" else ("output_base_dir",):
            if is_given(options, name):
                raise InputError(f"acts on another layout than {self.kind}", where=Parameter(name),
                                 do="Leave it out, or pass " + ("`layout` separate or calibration" if self.kind ==
                                                                "generated" else "`layout` generated"))
        self.factors = sorted(parse_factors(options.resize_factors))
        if self.kind == "separate" and len(self.factors) > 1:
            raise InputError("layout separate holds one factor", where=Parameter("resize_factors"),
                             do="Pass one factor, or `layout` generated or calibration")
        self.folders = {factor: self._folder(factor) for factor in self.factors}
        self.first, self.per_folder = options.first_index, options.images_per_folder
        self.numbers = range(self.first, self.first + options.num_images)

    def _folder(self, factor):
        if self.kind == "separate":
            return self.root
        return self.root / (f"{factor}x" if self.kind == "generated" else str(factor))

    def image(self, factor, number):
        """Return the path of an image."""
        return self._inner(factor, number) / f"img_{number:05d}.png"

    def latents(self, factor, number):
        """Return the path of an image's latents."""
        return self._inner(factor, number) / f"latents_{number:05d}.npz"

    def _inner(self, factor, number):
        folder = self._folder(factor)
        return folder if self.per_folder is None else folder / f"{(number - self.first) // self.per_folder:05d}"

    def owns(self):
        """Return the names and patterns, relative to the root, of what a job writes.

        Single files, and sub-folders of images: a user's own files may lie beside them.
        """
        own = [*FILES, *([DIGITS] if self.per_folder is not None else [])]
        if self.kind == "separate":
            return [PREVIEW, *own]
        return [PREVIEW, *(f"{self.folders[factor].name}/{name}" for factor in self.factors for name in own)]


def show(results):
    """Print where the images are, and what comes next."""
    rows = [(folder, factor, f"{results['num_images']:,}", results["sizes"][str(factor)])
            for factor, folder in zip(results["factors"], results["folders"])]
    console.show_table(f"Images of a {results['image_size']} px generator, {results['num_dims']:,} style coordinates "
                       "each", ["folder", "factor", "images", "px"], rows)
    console.say(f"next: train_quantile_encoder, or generate_outputs_npz --resize_factor R --image_dir "
                f"{results['folders'][0]} --output_path outputs.npz")
