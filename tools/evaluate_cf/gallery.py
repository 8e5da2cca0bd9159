"""Pictures of pairs for the page: each once, small, as data URIs."""

import base64
import io

import numpy as np
from PIL import Image

from common.blobs.changes import changed_blobs
from common.images.pixels import rounded_bytes
from common.networks.blobgan.layout import select
from common.networks.blobgan.splat import blob_picture
from tools.evaluate_cf.measure import NOT_ASKED

WIDEST = 320  # pixels of a picture on the page
LOSSLESS = 64  # pixels of a side up to which it is a PNG
LEAST_BLOBS = 128  # pixels of the picture of blobs
MOVED = 0.005  # share of the canvas: a shorter way is drawn without an arrow
GROWN = 0.05  # change of a size: a smaller one is drawn without a sign


class Gallery:
    """The pairs of the page. images: {name: {real, before, blobs: URI}}.  pairs: dictionaries. left: pairs beyond
    `most`, which have none."""

    def __init__(self, material, most):
        self.aspect, self.side = material.gan.config.aspect_ratio, material.gan.config.resolution
        self.most, self.images, self.pairs, self.left = most, {}, [], 0

    def add(self, batch, part):
        """Take in a Part of a Batch."""
        for row, line in enumerate(part.lines):
            if line["outcome"] == NOT_ASKED:
                continue
            if len(self.pairs) >= self.most:
                self.left += 1
                continue
            image = self._image(batch, row, line["image"])
            change = part.pictures[row] - batch.before[row]
            self.pairs.append({
                "image": image, "line": line, "after": picture_uri(part.pictures[row]),
                "difference": difference_uri(change.cpu().numpy()),
                "real": None if part.on_real is None else picture_uri(part.on_real[row]),
                "moved": self._moved(batch, part, row)})

    def _image(self, batch, row, name):
        if name not in self.images:
            found = {"before": picture_uri(batch.before[row])}
            if batch.metadata.names is not None:
                found["real"] = picture_uri(batch.targets[row])
            side = min(max(self.side, LEAST_BLOBS), int(WIDEST / self.aspect))
            shown = blob_picture(select(batch.start, [row]), side, self.aspect)[0]
            found["blobs"] = encoded(shown.permute(1, 2, 0).numpy(), "PNG")
            self.images[name] = found
        return name

    @staticmethod
    def _moved(batch, part, row):
        """Return [[blob, x, y, x now, y now, changed size]] of the blobs that changed, -1 for the background."""
        start, now = select(batch.start, [row]), select(part.blobs, [row])
        found = []
        for place in changed_blobs(now, start)[0].nonzero()[:, 0].tolist():
            if not place:
                found.append([-1, 0, 0, 0, 0, 0])
                continue
            where = [float(each[0, place - 1]) for each in (start.xs, start.ys, now.xs, now.ys)]
            growth = float(now.sizes[0, place] - start.sizes[0, place])
            found.append([place - 1, *(round(value, 4) for value in where), round(growth, 4)])
        return found


def picture_uri(picture):
    """Return a picture (3, H, W) in [-1, 1] as a data URI."""
    return encoded(rounded_bytes(picture[None])[0])


def difference_uri(change, least=0.02):
    """Return a change (3, H, W) of pictures in [-1, 1] as a data URI: grey where nothing changed, and as bright as the
    largest change lets it. least: the change that is shown at full strength at the least."""
    largest = max(float(np.abs(np.nan_to_num(change)).max()), least)
    shown = np.nan_to_num(change) / largest
    return encoded(np.round((shown + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0))


def encoded(pixels, kind=None):
    """Return uint8 (H, W, 3) as a data URI: PNG where it is small, else JPEG, at most WIDEST wide."""
    image, stream = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    if image.width > WIDEST:
        image.thumbnail((WIDEST, WIDEST))
    kind = kind or ("PNG" if max(image.size) <= LOSSLESS else "JPEG")
    image.save(stream, kind, **({"quality": 88} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
