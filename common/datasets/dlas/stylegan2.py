"""Mode `stylegan2`: square images from a folder, lightly cropped (DL-Art-School's Stylegan2Dataset)."""

import io
import os

from common.datasets.dlas.items import FileDataset, list_files
from common.datasets.dlas.option_values import REQUIRED
from common.formats.lmdb_files import image_bytes
from common.images.pil_transforms import center_crop, image_tensor, open_image, random_resized_crop, resize_short_side
from common.images.suffixes import SUFFIXES

ORIGINAL_ORDER = (".jpg", ".jpeg", ".png", ".webp")
CROP_SCALE, CROP_RATIO = (0.5, 1.0), (0.98, 1.02)


class Stylegan2Dataset(FileDataset):
    """Items of `options` (path, target_size, aug_prob; transparent False): dictionaries with

    hq and lq, the same (3, T, T) float32 tensor in 0..1, (4, T, T) when transparent; GT_path (str).
    The shorter side is resized to target_size, then, with probability aug_prob, a random crop (area .5 to 1, aspect .98
    to 1.02) is resized to the square, else the image is center-cropped.
    compat: files ordered by suffix (jpg, jpeg, png, webp), references (ref.jpg) included.
    Raises InputError for a missing or wrong option, a folder without images, an unreadable image.
    """

    REQUIRED = ("path", "target_size", "aug_prob")

    def __init__(self, options):
        super().__init__(options, "stylegan2")
        values = self.options
        folder = values.get("path", REQUIRED)
        if not isinstance(folder, (str, os.PathLike)):
            raise values.wrong("path", folder, "the path of a folder")
        self.target_size = values.integer("target_size")
        self.aug_prob = values.number("aug_prob")
        if self.aug_prob > 1:
            raise values.wrong("aug_prob", self.aug_prob, "a probability, 0 to 1")
        self.mode = "RGBA" if values.flag("transparent") else "RGB"
        self.paths = list_files(folder, values.where, ORIGINAL_ORDER if self.compat else SUFFIXES,
                                keep_references=self.compat)
        if self.compat:
            self.paths.sort(key=lambda path: ORIGINAL_ORDER.index(os.path.splitext(path)[1].lower()))

    def item(self, index):
        """See ItemDataset."""
        draws, path = self.draws(index), self.paths[index]
        image = resize_short_side(open_image(io.BytesIO(image_bytes(path)), self.mode, path, photo=not self.compat),
                                  self.target_size)
        if draws.unit() < self.aug_prob:
            image = random_resized_crop(image, self.target_size, draws, CROP_SCALE, CROP_RATIO)
        else:
            image = center_crop(image, self.target_size)
        tensor = image_tensor(image)
        return {"lq": tensor, "hq": tensor, "GT_path": path}
