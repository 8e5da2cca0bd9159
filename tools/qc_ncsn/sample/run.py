"""The sampling job: rounds of images as files, those that are there skipped, the rest shared among processes."""

import time

import numpy as np
import torch

from common import console, parallel
from common.device import autocast
from common.diffusion.scores import Score
from common.files import read_npz, write_npz
from common.images.grids import save_grid
from tools.qc_ncsn.sample.rounds import is_complete


def make_rounds(options, sampler, rounds, folder, device):
    """Write samples_<r>.npz and .png for every round that is not there yet; return the job's results."""
    if options.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    if options.compile:
        sampler.model.score = Score(torch.compile(sampler.model.score))
    missing = [number for number,
               indices in enumerate(rounds) if not is_complete(folder / f"samples_{number}.npz", indices)]
    began, mine = time.monotonic(), parallel.shard(missing)
    per_round = sampler.steps or 1
    unit = "step" if sampler.steps else "file"
    with console.progress("sampling", per_round * len(mine), unit=unit) as advance:
        for number in mine:
            with autocast(device, options.precision):
                pixels, calls = sampler(options.seed, rounds[number], device, advance if sampler.steps else None)
            path = folder / f"samples_{number}.npz"
            save_grid(path.with_suffix(".png"), pixels)
            write_npz(path, samples=pixels, nfe=np.int64(round(float(calls.mean()))), index=rounds[number],
                      nfe_per_image=calls)
            if not sampler.steps:
                advance()
    seconds = max(time.monotonic() - began, 1e-9)
    parallel.barrier()
    if parallel.is_main():
        _remove_stale(folder, len(rounds))
    calls = [read_npz(folder / f"samples_{number}.npz", required=("nfe_per_image",))["nfe_per_image"]
             for number in range(len(rounds))]
    made = sum(len(rounds[number]) for number in missing)
    rate = made / seconds
    console.say(f"{sum(map(len, rounds)):,} images in {len(rounds)} files under {folder} ({made:,} new, {rate:.3g} "
                f"images/s)")
    return {"num_samples": sum(map(len, rounds)), "nfe": float(np.concatenate(calls).mean()) if calls else 0.0,
            "files": len(rounds), "images_per_second": round(rate, 3)}


def _remove_stale(folder, count):
    """Remove files of rounds that this job does not have: another batch size left them."""
    for path in folder.glob("samples_*.*"):
        number = path.stem.removeprefix("samples_")
        if number.isdigit() and int(number) >= count:
            path.unlink()
