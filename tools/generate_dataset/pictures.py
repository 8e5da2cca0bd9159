"""Images of an earlier run: to feed them in another mode they need not be sampled again."""

from pathlib import Path

from common.activations.layout import GENERATED, Tree
from common.errors import InputError
from common.images.bounds import PILLOW_ERRORS

SHAPING = ("seed", "method", "num_steps", "sigma_max", "sigma_min", "rho", "S_churn", "S_min", "S_max", "S_noise",
           "stochastic", "eta", "guidance", "samples_per_class", "target_classes", "weights", "part", "precision",
           "to_uint8")
BEFORE = {"to_uint8": "dmd2"}  # what runs did that were recorded without the flag


class EarlierPictures:
    """The images below ROOT/images/imagenet of a run with this run's sampling flags, seed and network.

    Raises InputError where ROOT holds no such run, naming the first value that differs. Images that are missing there,
    such as those of a larger --num_samples, have to be sampled.
    """

    def __init__(self, root, options, checkpoint, config):
        from common.files import plain, read_json

        self.tree, self.shape = Tree(root, GENERATED), (config.img_resolution, config.img_resolution, 3)
        where = f"--images_from {root}"
        path = self.tree.metadata / "run.json"
        if not path.exists():
            raise InputError("no generate_dataset run here", where=where, do="Pass the --output_dir of one")
        if Path(root).resolve() == Path(options.output_dir).resolve():
            raise InputError("is this run's own --output_dir", where=where, do="Omit it")
        record = read_json(path)
        earlier = {**BEFORE, **(record.get("options") or {}), **(record.get("derived") or {})}
        now = plain({name: getattr(options, name) for name in SHAPING} | {"checkpoint": checkpoint})
        for name, value in now.items():
            if earlier.get(name, value) != value:  # records of earlier versions lack new flags
                raise InputError(f"its images were made with {name} {earlier.get(name)}, this command has {value}",
                                 where=where, do="Use the same value, or omit --images_from")
        if not earlier.get("images"):
            raise InputError("that run stored no images (--noimages)", where=where, do="Omit --images_from")

    def load(self, numbers):
        """Return {number: uint8 (R, R, 3)} of the samples whose image exists there."""
        import numpy as np
        from PIL import Image

        from common.activations.job import picture_path

        images = {}
        for number in map(int, numbers):
            path = picture_path(self.tree.images, number)
            if not path.exists():
                continue
            try:
                with Image.open(path) as image:
                    pixels = np.asarray(image)
            except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
                raise InputError(f"cannot be read ({error})", where=path,
                                 do="Delete it to have it sampled again") from error
            if pixels.shape != self.shape or pixels.dtype != np.uint8:
                raise InputError(f"is {pixels.shape} {pixels.dtype}, expected {self.shape} uint8", where=path,
                                 do="Delete it to have it sampled again")
            images[number] = pixels
        return images

