"""Pictures that an earlier run made: the same samples fed in another mode need not be sampled again."""

from pathlib import Path

from common.activations.layout import GENERATED, Tree
from common.errors import InputError

SHAPING = ("seed", "method", "num_steps", "sigma_max", "sigma_min", "rho", "S_churn", "S_min", "S_max", "S_noise",
           "stochastic", "eta", "guidance", "samples_per_class", "target_classes", "weights", "part", "precision")


class EarlierPictures:
    """The pictures below ROOT/images/imagenet of a run whose flags of sampling, seed and network are those of this one.

    Raises InputError where ROOT holds no such run, naming the first value that differs. Pictures that are missing
    there, such as those of a larger --num_samples, have to be sampled.
    """

    def __init__(self, root, options, checkpoint, config):
        from common.files import plain, read_json

        self.tree, self.shape = Tree(root, GENERATED), (config.img_resolution, config.img_resolution, 3)
        where = f"--images_from {root}"
        path = self.tree.metadata / "run.json"
        if not path.exists():
            raise InputError("no record of a run of generate_dataset", where=where, do="Name the --output_dir of one")
        if Path(root).resolve() == Path(options.output_dir).resolve():
            raise InputError("is this run's own --output_dir", where=where, do="Leave it out")
        told = read_json(path)
        before = {**(told.get("options") or {}), **(told.get("derived") or {})}
        now = plain({name: getattr(options, name) for name in SHAPING} | {"checkpoint": checkpoint})
        for name, value in now.items():
            if before.get(name, value) != value:  # records of earlier versions lack new flags
                raise InputError(f"its pictures were made with {name} {before.get(name)}, this command has {value}",
                                 where=where,
                                 do="Use the same value, or leave --images_from out")
        if not before.get("images"):
            raise InputError("that run kept no pictures", where=where, do="Leave --images_from out")

    def load(self, numbers):
        """Return {number: uint8 (R, R, 3)} of those of the given samples whose picture is there."""
        import numpy as np
        from PIL import Image

        from common.activations.job import picture_path

        found = {}
        for number in map(int, numbers):
            path = picture_path(self.tree.images, number)
            if not path.exists():
                continue
            try:
                with Image.open(path) as image:
                    pixels = np.asarray(image)
            except (OSError, SyntaxError, ValueError) as error:
                raise InputError(f"cannot be read as a picture ({error})", where=path,
                                 do="Remove it: it is sampled again") from error
            if pixels.shape != self.shape or pixels.dtype != np.uint8:
                raise InputError(f"is {pixels.shape} {pixels.dtype}, expected {self.shape} uint8", where=path,
                                 do="Remove it: it is sampled again")
            found[number] = pixels
        return found

