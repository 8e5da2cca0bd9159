"""Inversion and search at full size, 256 x 512, 40 blobs, one image, on the CPU: an iteration's seconds, peak memory.

    python -m tests.bench.full_size_cf [--threads 2] [inversion] [search]

LPIPS with VGG-16 and DenseNet-121 have random weights. Each runs in a process of its own; the memory is the process's
peak, networks included.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

PARTS = ("inversion", "search")
LIMIT = 5.0  # GB


class Clock:
    """A render function that notes when it is called."""

    def __init__(self, render):
        self.render, self.times = render, []

    def __call__(self, blobs):
        """Return the pictures of Blobs."""
        self.times.append(time.perf_counter())
        return self.render(blobs)


def measure(part, threads):
    """Run two evaluations and the step between them in this process; print what they took as JSON."""
    import torch

    from common.blobs.inversion import InversionWeights
    from common.blobs.perceptual import LpipsDistance
    from common.networks.blobgan.configuration import BlobGANConfig
    from common.networks.blobgan.files import BlobGAN
    from common.networks.decision_networks import DRIVING, DecisionConfig, build_decision_model
    from common.networks.lpips import Lpips
    from tools.blobex_inv_cf.inversion import InversionSettings, invert
    from tools.blobex_inv_cf.problem import Pair, SearchSettings
    from tools.blobex_inv_cf.search import Scene, search

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = BlobGANConfig()
    gan = BlobGAN(config, config.layout_net(), config.generator())
    decision = build_decision_model(DecisionConfig("densenet121", DRIVING, (256, 512))).eval().requires_grad_(False)
    start, other = (gan.layouts(torch.randn(1, config.noise_dim)) for _ in range(2))
    clock = Clock(gan.render)
    if part == "inversion":
        lpips = LpipsDistance(Lpips("vgg").eval().requires_grad_(False))
        with torch.no_grad():
            target = gan.render(other)
        settings = InversionSettings(InversionWeights(), n_iters=2, plateau=0)
        invert(clock, target, start, settings, lpips, decision.features)
    else:
        with torch.no_grad():
            pictures = gan.render(start)
        scene = Scene(clock, lambda images, numbers: decision.logits(images), start, pictures)
        search(scene, [Pair(0, 0, (1, 0, 0, 0))], SearchSettings(n_iters=2, margin=1e9), 1)
    print(json.dumps({"seconds": clock.times[-1] - clock.times[-2],
                      "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def main(words=None):
    """Measure both and print a table; exit status 1 where one takes more memory than is promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.full_size_cf", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    parts = options.parts or list(PARTS)
    if options.here:
        measure(parts[0], options.threads)
        return 0
    print(f"256 x 512, 40 blobs, one image, CPU, {options.threads} threads; VGG-16 and DenseNet-121 of random weights")
    within = True
    for part in parts:
        command = [sys.executable, "-m", "tests.bench.full_size_cf", part, "--here", "--threads", str(options.threads)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"an iteration of the {part:10} {found['seconds']:7.1f} s   peak {found['peak'] / 1e9:5.2f} GB",
              flush=True)
        within &= found["peak"] <= LIMIT * 1e9
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
