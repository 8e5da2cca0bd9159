"""blobgan40 at full size, 256 x 512, batch 1, on the CPU: seconds and peak memory of each kind of turn.

    python -m tests.bench.full_size [--threads 2] [--recompute] [--batch 1] [--picture FILE] [TURN ...]

Each turn runs once, in a process of its own, on networks with their averages and moments; the memory is the process's
peak. With --picture the averaged networks' picture is written, and read again.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

TURNS = {"generator": "generator turn", "discriminator": "discriminator turn", "r1": "discriminator turn with R1"}
LIMIT = 5.0  # GB at batch 1
SHAPE = (256, 512, 3)


def measure(turn, recompute, batch, threads, picture):
    """Run one turn in this process and print what it took as JSON."""
    import torch

    from common.training.log import Log
    from common.training.loop import Loop, Part
    from common.training.plan import Plan
    from tools.train_blobgan.__main__ import TrainOptions
    from tools.train_blobgan.batches import TURNS as NOISES
    from tools.train_blobgan.batches import draw_noise
    from tools.train_blobgan.loop import BlobGANTraining
    from tools.train_blobgan.memory import expected_memory
    from tools.train_blobgan.networks import configuration
    from tools.train_blobgan.presets import filled

    torch.set_num_threads(threads)
    options = filled(TrainOptions(data="none", output_dir="none", batch_size=batch, recompute=recompute))
    config = configuration(options)
    run = BlobGANTraining(options, config, [None], torch.device("cpu"))
    for optimiser in run.optimisers.values():
        _fill_moments(optimiser.optimiser)
    loop = Loop(Plan(1, 1, batch, 1, (), patience=10), None, None, None, Log("none"), run.optimisers)
    sizes = options.noise_dim, run.step.map_shapes, options.n_features
    noises = [draw_noise(0, name, 1, range(batch), *sizes) for name in NOISES]
    pixels = torch.randint(0, 256, (batch, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    parts = [Part(0, batch, (pixels, *noises[0], *noises[1]))]
    began = time.perf_counter()
    if turn == "generator":
        run.step.discriminator.requires_grad_(False)
        loop.update("generator", parts, run.step.generator_turn, undo=True)
    else:
        loop.undo["generator"] = run.optimisers["generator"].remember()
        real = run.step.judge_real_with_r1 if turn == "r1" else run.step.judge_real
        loop.update("discriminator", parts, real, run.step.judge_fake)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    expected = expected_memory(config, options, batch).turns["discriminator with R1" if turn == "r1" else turn]
    if picture:
        _write_picture(picture, run)
    print(json.dumps({"seconds": seconds, "peak": peak, "expected": expected,
                      "parameters": {name: sum(parameter.numel() for parameter in network.parameters())
                                     for name, network in run.networks.items()}}))


def _fill_moments(adam):
    import torch

    for group in adam.param_groups:
        for parameter in group["params"]:
            adam.state[parameter] = {"step": torch.tensor(1.0), "exp_avg": torch.zeros_like(parameter),
                                     "exp_avg_sq": torch.ones_like(parameter)}


def _write_picture(path, run):
    from PIL import Image

    from tools.train_blobgan.pictures import draw_samples, fixed_codes

    z = fixed_codes(0, 1, run.options.noise_dim)
    draw_samples(path, [(run.averaged["layout_net_ema"], run.averaged["generator_ema"])], z)
    with Image.open(path) as image:
        image.load()


def main(words=None):
    """Measure the turns and print a table; exit status 1 where one takes more memory than is promised at batch 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.full_size", description=__doc__.split("\n")[0])
    parser.add_argument("turns", nargs="*", metavar="TURN", help=f"of {', '.join(TURNS)} (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--picture")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    turns = options.turns or list(TURNS)
    if options.here:
        measure(turns[0], options.recompute, options.batch, options.threads, options.picture)
        return 0
    print(f"blobgan40, 256 x 512, batch {options.batch}, CPU, {options.threads} threads"
          + (", activations recomputed" if options.recompute else ""))
    within = True
    for turn in turns:
        command = [sys.executable, "-m", "tests.bench.full_size", turn, "--here", "--threads", str(options.threads),
                   "--batch", str(options.batch), *["--recompute"] * options.recompute]
        if options.picture and turn == "generator":
            command += ["--picture", options.picture]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"{TURNS[turn]:28} {found['seconds']:7.1f} s   peak {found['peak'] / 1e9:5.2f} GB   "
              f"expected {found['expected'] / 1e9:5.2f} GB", flush=True)
        within &= options.batch > 1 or found["peak"] <= LIMIT * 1e9
    sizes = ", ".join(f"{name} {count / 1e6:.2f} million" for name, count in found["parameters"].items())
    print(f"parameters: {sizes}")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
