"""From flags to outputs.npz: rows in place with a mask, a unit of images at a time, then one file."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from common import console, parallel
from common.errors import InputError
from common.files import write_text
from common.formats.masked_rows import MaskedRows
from common.numerals import byte_count, counted
from common.paths import ExperimentDir
from common.rcps.outputs import KEYS, LOWER, POINT, STATISTICS, TRUTH, UPPER, write_outputs
from common.units import make_pipelined
from tools.generate_outputs_npz import findings
from tools.generate_outputs_npz.images import Images, as_input
from tools.generate_outputs_npz.place import output_path, record_folder, show

PIXELS, MOST = 1 << 16, 16  # of a unit on a CPU: larger ones are no quicker and need more memory
OF = "of.txt"  # names the images that rows in the making belong to


def encode(options):
    """Encode; results: output, num_images, with_truth, num_dims, resize_factor, degraded_before, encoder (SHA-256),
    encoder_size, statistics (encoder or file), bytes; images_per_second where images were encoded."""
    from common.datasets.degradations import check_factor
    from common.device import pick_device, set_precision
    from common.formats.checkpoints import weights_hash
    from common.job import Job
    from common.networks.quantile_encoder_weights import load_quantile_encoder

    path, model = output_path(options), ExperimentDir(options.base_dir, options.exp_name).model(options.model_name)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    if not model.exists():
        raise InputError("no such encoder", where=model, do="Train one with train_quantile_encoder, or name yours with "
                         "--base_dir, --exp_name and --model_name")
    if Path(options.output_path).is_dir():
        raise InputError("this is a folder", where=options.output_path,
                         do="Pass the path of the file, such as .../outputs.npz")
    file = load_quantile_encoder(model, device)
    size = options.encoder_size or file.size
    request, options = options, replace(options, encoder_size=size)
    check_factor(options.resize_factor, size)
    images = Images(options.image_dir, options.resize_factor, size, file.network.config.style_dims,
                    options.allow_missing_truth)
    encoding = Encoding(path, images, file, weights_hash(file.network), size, options.batch_size, device)
    folder = record_folder(options)
    inside = Path(options.image_dir).resolve() in path.resolve().parents  # then the folder changes with each run
    job = Job(folder, "generate_outputs_npz", options, request=request,
              derived={"encoder": encoding.encoder, "encoder statistics": _hash_of(file.statistics), "size": size},
              content={"images": images.digest}, inputs=None if inside else [options.image_dir, model],
              owns=[path.absolute(), encoding.rows.folder.absolute()], show=show,
              summary=findings.encode)
    return job.run(encoding.work, encoding.rehearse, device)


def _hash_of(statistics):
    """Return the hex SHA-256 of an encoder's statistics, None where it has none."""
    if statistics is None:
        return None
    arrays = [getattr(statistics, name) for name in STATISTICS]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays if array is not None)).hexdigest()


class Encoding:
    """The work of one job.

    path: of the file.  images: Images.  file: QuantileEncoderFile.  encoder: SHA-256 of its weights.  size: side of its
    images in pixels.
    """

    def __init__(self, path, images, file, encoder, size, batch_size, device):
        self.path, self.images, self.file, self.encoder, self.size = path, images, file, encoder, size
        self.network, self.device, self.num_dims = file.network, device, file.network.config.style_dims
        self.per_unit = batch_size if device.type != "cpu" else min(max(PIXELS // size**2, 1), MOST)
        self.rows = MaskedRows(path.with_name(f".{path.name}.rows"), dict.fromkeys(KEYS, self.num_dims), np.float32,
                               len(images), self.per_unit)

    def rehearse(self):
        """Return (line, results) of --dry_run."""
        self.say_notes()
        line = f"would encode {counted(len(self.images), 'image')} at factor {self.images.factor} and write " \
               f"{self.path} ({byte_count(4 * 4 * len(self.images) * self.num_dims)})"
        return line, self.results()

    def results(self):
        """Return what is known before the images are encoded."""
        return {"output": str(self.path), "num_images": len(self.images),
                "with_truth": int(self.images.has_truth.sum()), "num_dims": self.num_dims,
                "resize_factor": self.images.factor, "degraded_before": self.images.degraded, "encoder": self.encoder,
                "encoder_size": self.size, "statistics": "encoder" if self.file.statistics is not None else "file"}

    def work(self):
        """Encode the images whose rows are missing, and write the file; returns (results, files)."""
        if parallel.is_main():
            self.say_notes()
            self._prepare()
        parallel.barrier()  # the rows can be written
        units = range(-(-len(self.images) // self.per_unit))
        began = time.monotonic()
        missing = make_pipelined(units, self.rows.is_complete, self.load, self.compute,
                                 lambda made: self.rows.write(*made), "images", lambda unit: len(self.members(unit)), 1)
        seconds, made = max(time.monotonic() - began, 1e-9), sum(len(self.members(unit)) for unit in missing)
        if not parallel.is_main():
            return {}, []
        self.save()
        self.rows.remove()
        rate = {"images_per_second": round(made / seconds, 3)} if made else {}
        return {**self.results(), "bytes": self.path.stat().st_size, **rate}, [self.path]

    def say_notes(self):
        """Print what was noticed of the images."""
        for note in self.images.notes:
            console.say(note)

    def _prepare(self):
        """Make room for the rows; those of other images, left by a run before the folder changed, go."""
        note = self.rows.folder / OF
        before = note.read_bytes() if note.exists() else b""
        if self.rows.folder.exists() and before != self.images.digest.encode():
            self.rows.remove()
        if not note.exists():
            write_text(note, self.images.digest)
        self.rows.prepare()

    def members(self, unit):
        """Return the numbers of a unit's images."""
        return range(unit * self.per_unit, min((unit + 1) * self.per_unit, len(self.images)))

    def load(self, unit):
        """Return (unit, images, truth); called in a thread, ahead of time."""
        return unit, *self.images.load(self.members(unit), threads=1 if self.device.type == "cpu" else 4)

    def compute(self, loaded):
        """Return (unit, {key: rows}) of loaded images. Raises InputError for NaN and infinity."""
        import torch

        unit, pixels, truth = loaded
        with torch.inference_mode():
            values = self.network(as_input(pixels, self.per_unit).to(self.device))[: len(pixels)].cpu().numpy()
        bad = ~np.isfinite(values).all(axis=(1, 2))
        if bad.any():
            pair = self.images.pairs[self.members(unit)[int(bad.argmax())]]
            raise InputError("the encoder gives NaN or infinity for this image", where=pair.image,
                             do="Look at the image and the encoder")
        return unit, {TRUTH: truth, LOWER: values[:, 0], POINT: values[:, 1], UPPER: values[:, 2]}

    def save(self):
        """Write outputs.npz from the complete rows."""
        statistics, source = self._statistics()
        write_outputs(self.path, {key: self.rows.blocks(key) for key in KEYS}, len(self.images), self.num_dims,
                      statistics=statistics, style_dims=self.images.style_dims,
                      image_names=[pair.name for pair in self.images.pairs], has_truth=self.images.has_truth,
                      resize_factor=self.images.factor, encoder=self.encoder, source=source)

    def _statistics(self):
        """Return ({"mean", "min", "max": (D,)}, "encoder" or "file"): the encoder's own, else those of this file."""
        own = self.file.statistics
        found = {} if own is None else {name: getattr(own, name) for name in STATISTICS
                                        if getattr(own, name) is not None}
        if len(found) < len(STATISTICS):
            found = {**self._statistics_of_rows(), **found}
        if own is None:
            console.say("note: the encoder has no stored mean: statistics are of these images, as in the original")
        return found, "file" if own is None else "encoder"

    def _statistics_of_rows(self):
        """Return the statistics of the truths, of the point values where there is none."""
        has_truth, start, total, count = self.images.has_truth, 0, 0.0, 0
        key, lowest, highest = TRUTH if has_truth.any() else POINT, np.inf, -np.inf
        for block in self.rows.blocks(key):
            kept = block[has_truth[start : start + len(block)]] if key == TRUTH else block
            start += len(block)
            if len(kept):
                total, count = total + kept.sum(axis=0, dtype=np.float64), count + len(kept)
                lowest, highest = np.minimum(lowest, kept.min(axis=0)), np.maximum(highest, kept.max(axis=0))
        return {"mean": total / count, "min": lowest, "max": highest}
