"""The sampling job: one file per round of images; existing files are skipped, the rest shared among processes."""

import time

import numpy as np
import torch

from common import console, parallel
from common.device import autocast
from common.diffusion.scores import Score
from common.files import png_bytes, read_npz, write_bytes, write_npz
from common.images.grids import save_grid, viewing_scale
from common.units import make_missing, remove_numbered
from tools.qc_ncsn.sample.rounds import is_complete


def make_rounds(options, sampler, rounds, folder, device, made_by):
    """Write samples_<r>.npz and .png for every missing round; return the job's results.

    made_by: text stored in each file, see model.made_by.
    """
    if options.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    if options.compile:
        sampler.model.score = Score(torch.compile(sampler.model.score))

    def make(number, advance):
        with autocast(device, options.precision):
            pixels, calls = sampler(options.seed, rounds[number], device, advance if sampler.steps else None)
        save_grid(paths[number].with_suffix(".png"), pixels, scale=viewing_scale(pixels.shape[1]))
        write_npz(paths[number], samples=pixels, nfe=np.int64(round(float(calls.mean()))), index=rounds[number],
                  nfe_per_image=calls, made_by=np.array(made_by))
        if not sampler.steps:
            advance()

    paths = [folder / f"samples_{number}.npz" for number in range(len(rounds))]
    began = time.monotonic()
    missing = make_missing(range(len(rounds)), lambda number: is_complete(paths[number], rounds[number], made_by), make,
                           "sampling", lambda number: sampler.steps or 1, "step" if sampler.steps else "file")
    seconds = max(time.monotonic() - began, 1e-9)
    if parallel.is_main():
        remove_numbered(folder, "samples_", len(rounds))
    calls = [read_npz(path, required=("nfe_per_image",))["nfe_per_image"] for path in paths]
    made, count = sum(len(rounds[number]) for number in missing), sum(map(len, rounds))
    rate = made / seconds
    console.say(f"{count:,} images in {len(rounds)} files under {folder} ({made:,} new, {rate:.3g} images/s)")
    return {"num_samples": count, "nfe": float(np.concatenate(calls).mean()) if calls else 0.0,
            "files": len(rounds), "images_per_second": round(rate, 3)}


def write_images(rounds, folder, place):
    """Write each image of the stored rounds as place/<number>.png, but for those that are there and right."""
    def pictures(number):
        stored = read_npz(folder / f"samples_{number}.npz", required=("samples",))["samples"]
        for index, pixels in zip(rounds[number], stored):
            path, data = place / f"{index:06d}.png", png_bytes(pixels)
            yield path, data, path.is_file() and path.read_bytes() == data

    def is_written(number):
        return all(written for *_, written in pictures(number))

    def write(number, advance):
        for path, data, written in pictures(number):
            if not written:
                write_bytes(path, data)
            advance()

    make_missing(range(len(rounds)), is_written, write, "single images", lambda number: len(rounds[number]))
