"""What the long tools cost: python -m docs.scaling.costs [--rate 100e12] prints the table of docs/scaling.md.

A tool's cost is a sum over units (images): operations, bytes that are read, bytes that are stored. Operations come from
those of one forward pass of the published networks (a multiplication and an addition are two), counted by torch's
FlopCounterMode; a training step is three forward passes.
"""

import argparse
import math
from dataclasses import dataclass

FORWARD = {  # floating-point operations of one image, published sizes
    "ncsnpp": 37.16e9,  # NCSN++ deep, 32 x 32
    "adm": 219.3e9,  # ADM of EDM and DMD2, 64 x 64
    "inception": 11.42e9,  # 299 x 299
    "stylegan2": 150.7e9,  # config F, 1024 x 1024
    "ir_se50": 72.81e9,  # three heads of 9,088, 256 x 256
    "blobgan": 410.7e9,  # layout network, splat and generator, 256 x 512
    "discriminator": 187.4e9,  # 256 x 512
    "resnet50": 187.4e9,  # the encoder of layouts, whose strides are the discriminator's
    "vgg16": 80.7e9,  # convolutions of LPIPS, 256 x 512
    "densenet121": 13.59e9,  # 256 x 512
}
IMAGENET = 1_281_167
BACKWARD = 3  # a forward pass and its gradients, in forward passes
EDM_IMAGES = 610_352 * 4096  # --preset imagenet64


@dataclass(frozen=True)
class Cost:
    """Of one unit. flops: operations.  read, stored: bytes.  passes: how often each image of the set is a unit."""

    tool: str
    of: str
    flops: float
    read: float
    stored: float
    passes: float = 1

    def total(self, images):
        """Return (operations, bytes read, bytes stored) for a data set of so many images; read once, then in memory."""
        return self.flops * images * self.passes, self.read * images, self.stored * images


def costs():
    """Return the Costs of the long tools with their published networks and defaults."""
    net = FORWARD
    layers = 2 * 768 * 8 * 8 * 4  # the two default layers, float32
    step = BACKWARD * net["blobgan"] + 2 * net["discriminator"]  # the generator's turn: D passes its gradient through
    step += net["blobgan"] + 2 * BACKWARD * net["discriminator"] + BACKWARD**2 * net["discriminator"] / 16  # D; R1
    inversion = BACKWARD * (net["blobgan"] + net["vgg16"] + net["resnet50"] + net["densenet121"])
    search = BACKWARD * (net["blobgan"] + net["densenet121"])
    pixels64, pixels_bdd = 64 * 64 * 3, 100e3
    return [
        Cost("qc_ncsn train", "image of U, one epoch", BACKWARD * net["ncsnpp"], 3072, 0),
        Cost("qc_ncsn sample", "image, PC", 2000 * net["ncsnpp"], 0, 3072),
        Cost("qc_ncsn sample", "image, multistep 50", 50 * net["ncsnpp"], 0, 3072),
        Cost("train_edm", "image, --preset imagenet64", BACKWARD * net["adm"], pixels64, 0, EDM_IMAGES / IMAGENET),
        Cost("extract_real_imagenet", "image, two layers", net["adm"], pixels64, layers + 2 * pixels64),
        Cost("generate_dataset", "image, one call", net["adm"], 0, layers + pixels64),
        Cost("generate_dataset", "image, Heun 18", (35 + 1) * net["adm"], 0, layers + pixels64),
        Cost("setup_fid, compute_fid", "image", net["inception"], 110e3, 4 * 2048),
        Cost("generate_ffhq", "image of 1024", net["stylegan2"], 0, 1.6e6 + 72e3),
        Cost("train_quantile_encoder", "image, one epoch", BACKWARD * net["ir_se50"], 1.6e6, 0),
        Cost("generate_outputs_npz", "image", net["ir_se50"], 1.6e6, 4 * 4 * 9088),
        Cost("train_blobgan", "image, one epoch", step, pixels_bdd, 0),
        Cost("generate_blobgan", "image", net["blobgan"], 0, 250e3),
        Cost("train_encoder", "image, one epoch", BACKWARD * (net["resnet50"] + net["blobgan"] + 2 * net["vgg16"]),
             pixels_bdd, 0),
        Cost("train_decision_model", "image, one epoch", BACKWARD * net["densenet121"], pixels_bdd, 0),
        Cost("blobex_inv_cf", "image, four decisions", 400 * inversion + 4 * 100 * search, pixels_bdd, 500e3),
        Cost("evaluate_cf", "pair", net["inception"] + 2 * net["vgg16"] + 2 * net["densenet121"], 500e3, 0),
    ]


def shown(value, unit):
    """Return a number with a prefix of thousands and its unit."""
    if value < 1:
        return "-"
    power = min(int(math.log10(value) // 3), 8)
    digits = f"{value / 1000**power:.3g}"
    return f"{digits} {['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'][power]}{unit}"


def hours(operations, rate):
    """Return the hours of so many operations at `rate` a second, in words."""
    value = operations / rate / 3600
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def table(rate):
    """Return the lines of the table."""
    lines = ["| tool | unit | FLOPs a unit | ImageNet: FLOPs | hours | read | stored | 100 x: hours | stored |",
             "|---|---|---|---|---|---|---|---|---|"]
    for cost in costs():
        small, large = cost.total(IMAGENET), cost.total(100 * IMAGENET)
        cells = [cost.tool, cost.of, shown(cost.flops, "FLOP"), shown(small[0], "FLOP"), hours(small[0], rate),
                 shown(small[1], "B"), shown(small[2], "B"), hours(large[0], rate), shown(large[2], "B")]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=100e12, help="operations a second of one device")
    print("\n".join(table(parser.parse_args().rate)))


if __name__ == "__main__":
    main()
