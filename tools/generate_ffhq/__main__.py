"""Generate images with a StyleGAN2 checkpoint, with the latents that make them."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import leave, run
from common.options import REQUIRED, CommonOptions, option

PROG = "generate_ffhq"
DESCRIPTION = """\
Draws images from a StyleGAN2 (rosinality's g_ema and training checkpoints, pSp's decoder, safetensors) and stores each
with its StyleSpace and W+ codes, from which --verify makes it again. Folders of resize factors above 1 hold the same
images as an encoder will see them. Statistics of the StyleSpace go beside them."""
EPILOG = """\
examples:
  generate_ffhq --stylegan_path stylegan2-ffhq-config-f.pt --num_images 1000 --resize_factors 1,16,32
  generate_ffhq --stylegan_path g.pt --num_images 1000 --layout calibration --exp_name mine --verify"""


@dataclass(kw_only=True)
class GenerateOptions(CommonOptions):
    """Flags of `generate_ffhq`."""

    stylegan_path: str = option(REQUIRED, "generator: .pt of rosinality's stylegan2-pytorch or of pSp, or .safetensors",
                                kind="how")
    num_images: int = option(10, "total number of images, existing ones included", kind="total", low=1)
    resize_factors: List[str] = option(["1"], "factors of the folders {r}x, separated by blanks or commas; above 1 the "
                                       "images are degraded as for an encoder", nargs="+", kind="how", metavar="R")
    layout: str = option("generated", "where images go: generated (OUTPUT_BASE_DIR/generated/{r}x), separate "
                         "(BASE_DIR/EXP_NAME/data/ffhq_generated), calibration (BASE_DIR/EXP_NAME/data/"
                         "calibration_set_outputs_generated_data/{r})",
                         choices=["generated", "separate", "calibration"])
    output_base_dir: str = option("assets/data", "root of layout generated", kind="how")
    base_dir: str = option("assets", "folder of experiments, for the other layouts", kind="how")
    exp_name: str = option("super_resolution", "experiment: a folder of --base_dir", kind="how")
    images_per_folder: Optional[int] = option(None, "spread the images over sub-folders 00000, 00001, ... of so many "
                                              "(default: no sub-folders)", low=1)
    first_index: int = option(1, "number of the first image; image n draws from (seed, n)", low=0)
    truncation: float = option(1.0, "truncation: how far codes may lie from the mean latent; 1 for none", low=0)
    truncation_mean: Optional[int] = option(None, "codes whose mean is the centre of truncation (default: the "
                                            "checkpoint's latent_avg, else 4096 codes)", low=1)
    noise: str = option("stored", "noise maps: stored with the weights, none, or seeded, an image's own",
                        choices=["stored", "none", "seeded"])
    seed: int = flags.seed("codes and seeded noise; image n draws from (seed, n)")
    encoder_size: int = option(256, "side of the degraded images in pixels (factors above 1)", low=1,
                               high=flags.LARGEST_SIDE)
    no_stats: bool = option(False, "write no statistics of the StyleSpace", kind="how")
    latent_stats: bool = option(False, "also put mean, minimum and maximum into every latents file")
    verify: bool = option(False, "make every image again, from its style vectors alone and from W+, and compare bytes",
                          kind="how")
    batch_size: int = flags.batch_size(1, help="images at a time on a GPU; on a CPU they are made one by one")
    device: str = flags.device()


def main(options):
    """Run `generate_ffhq`; results: see tools/generate_ffhq/generate.py."""
    from tools.generate_ffhq.generate import generate

    return generate(options)


def place(options):
    """Return the folder of the record; None with --verify, which no record answers."""
    from tools.generate_ffhq.layout import root_of

    return None if options.verify else root_of(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    from tools.generate_ffhq.layout import show

    return run(main, GenerateOptions, PROG, DESCRIPTION, EPILOG, words, place=place, show=show)


if __name__ == "__main__":
    leave(cli)
