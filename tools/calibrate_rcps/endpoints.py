"""`calibrate_rcps endpoints`: what the ends of calibrated sets look like, as pictures of a generator."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from common import console
from common.errors import InputError
from common.files import fingerprint, write_png
from common.numerals import counted
from common.paths import ExperimentDir
from tools.calibrate_rcps import findings
from tools.calibrate_rcps.rendering import PSP, Renderer, calibrated_ends, difference, end_codes, group_panels, panel

PROG = "calibrate_rcps endpoints"
SHOWN = 128  # smaller pictures are enlarged to about so many pixels


def draw_endpoints(options):
    """Run `calibrate_rcps endpoints`; results: pictures, and mean_change {level: share of the grey levels}."""
    from common.job import Job
    from tools.calibrate_rcps.figures import find_levels
    from tools.calibrate_rcps.stored import open_calibrated, read

    options = replace(options, image_index=list(dict.fromkeys(options.image_index)))
    tree = ExperimentDir(options.base_dir, options.exp_name)
    stored = read(Path(options.calibration) if options.calibration else tree.calibration)
    found = find_levels(stored, options, tree)
    opened = open_calibrated(stored, found)
    for outputs in opened:
        if max(options.image_index) >= outputs.count:
            raise InputError(f"has {counted(outputs.count, 'image')}", where=outputs.path,
                             do=f"Pass --image_index 0 to {outputs.count - 1}")
    checkpoint = Path(options.stylegan_path or tree.pretrained / PSP)
    inputs = [stored.path, checkpoint, *(path for _, _, path in found)]
    if not checkpoint.exists():
        raise InputError("no such file", where=checkpoint, do="Pass --stylegan_path: a StyleGAN2 or pSp checkpoint")
    about, folder = [fingerprint(path) for path in inputs], Path(options.output_dir)
    job = Job(folder, PROG, options, inputs=inputs, about=about, owns=owned(stored, options.image_index),
              summary=findings.endpoints,
              content={f"input {number}": entry["sha256"] for number, entry in enumerate(about)})

    def work():
        renderer = Renderer(checkpoint, options.device)
        renderer.check(opened[0].num_dims)
        outputs, changes = [], {}
        with console.progress("pictures", len(found) * len(options.image_index), unit="images") as advance:
            for place, ((level, _, _), each) in enumerate(zip(found, opened)):
                for index in options.image_index:
                    point, low, high, truth = stored_ends(stored, place, each, index)
                    stem = folder / stem_of(level, index)
                    paths, change = save_ends(stem, renderer, stored, point, low, high, truth)
                    outputs += paths
                    changes.setdefault(level, []).append(change)
                    advance()
        return {"pictures": len(outputs),
                "mean_change": {level: float(np.mean(values)) for level, values in changes.items()}}, outputs

    images, levels = counted(len(options.image_index), "image"), counted(len(found), "level")
    return job.run(work, lambda: (f"would draw {images} at {levels} into {folder}", {}))


def stem_of(level, index):
    """Return how the names of an image's pictures begin."""
    return f"{level}_{index:05d}"


def owned(stored, indices):
    """Return the names of the pictures of some images."""
    return [f"{stem_of(level, index)}{part}.png" for level in stored.levels for index in indices
            for part in ("", "_groups")]


def stored_ends(stored, place, outputs, index, lambdas=None):
    """Return (point (D,), low (K,), high (K,), truth (D,) or None) of an image, float64, in the truth's units.

    lambdas: (1 or 2,), those of the calibration by default.
    """
    from common.rcps.outputs import LOWER, POINT, TRUTH, UPPER

    values = np.stack([np.float64(outputs.row(key, index)) for key in (LOWER, POINT, UPPER)])
    values += stored.centre(outputs, np.arange(outputs.num_dims))
    lambdas = stored.lambda_hat[place] if lambdas is None else lambdas
    truth = np.float64(outputs.row(TRUTH, index)) if outputs.has_truth()[index] else None
    return (*calibrated_ends(values, stored.dims, lambdas, stored.shape[place]), truth)


def save_ends(stem, renderer, stored, point, low, high, truth):
    """Write STEM.png (truth, point, lower, upper, difference) and STEM_groups.png (low, high, difference by group).

    Return (paths, mean change between the ends as a share of the grey levels).
    """
    codes = [point, *end_codes(point, stored.dims, low, high)]
    size = renderer.panel_size
    pictures = renderer.pictures(np.stack(codes if truth is None else [truth, *codes]), size)
    lower, upper = pictures[-2:]
    scale = max(1, SHOWN // size)
    paths = [Path(f"{stem}.png"), Path(f"{stem}_groups.png")]
    write_png(paths[0], enlarge(panel([*pictures, difference(lower, upper)]), scale))
    rows = group_panels(renderer, point, stored.dims, low, high, size)
    write_png(paths[1], enlarge(np.concatenate(rows), scale))
    return paths, float(np.abs(upper.astype(np.float64) - lower).mean() / 255)


def enlarge(pixels, scale):
    """Return a picture with each pixel enlarged to scale x scale."""
    return pixels.repeat(scale, 0).repeat(scale, 1)
