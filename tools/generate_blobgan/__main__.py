"""Generate images of a BlobGAN with their blob pictures and layouts, or render given layouts."""

from dataclasses import dataclass
from typing import Optional

from common import flags
from common.cli import leave, run
from common.options import CommonOptions, option

PROG = "generate_blobgan"
DESCRIPTION = """\
Draws images from a BlobGAN and stores each with its layout (positions, sizes, ellipses, features and styles of its
blobs), from which --layouts renders it again, changed or not. --save_blobs adds pictures of the blobs."""
EPILOG = """\
examples:
  generate_blobgan checkpoints/blobgan_256x512.ckpt -n 100 -t 0.4 --save_blobs --label_blobs
  generate_blobgan checkpoints/blobgan_256x512.ckpt --layouts out/generate_blobgan/layouts -s again"""


@dataclass(kw_only=True)
class GenerateOptions(CommonOptions):
    """Flags of `generate_blobgan`."""

    checkpoint: Optional[str] = option(None, "BlobGAN: a Lightning .ckpt, published or of train_blobgan, or "
                                       ".safetensors (default: --model_data in --dl_dir)", word=True, nargs="?",
                                       kind="how")
    n_imgs: int = option(100, "total number of images, existing ones included", short="-n", kind="total", low=1,
                         high=flags.MOST_IMAGES)
    truncate: float = option(0.4, "truncation: 0 for none, 1 for the mean layout alone", short="-t", low=0, high=1)
    save_dir: str = option("out/generate_blobgan", "output folder", short="-s", kind="how")
    layouts: Optional[str] = option(None, "render these layouts instead of drawing: a .npz or folder of them, "
                                    "metadata_<i>.pt, all_inversions.pt", kind="how")
    save_layouts: bool = option(True, "store each image's layout in layouts/NNNN.npz", kind="how")
    save_blobs: bool = option(False, "also write pictures of the blobs, blobs/NNNN.png", kind="how")
    label_blobs: bool = option(False, "with --save_blobs: also with their numbers, blobs_labeled/NNNN.png",
                               kind="how")
    size_threshold: float = option(-3.0, "with --label_blobs: only blobs of a size above this are numbered", kind="how")
    palette: str = option("auto", "colours of the blobs: kld (68), bed_conf (34), or auto: bed_conf for --model_data "
                          "bed and conference, else kld", choices=["auto", "kld", "bed_conf"], kind="how")
    fixed_spatial_noise: bool = option(False, "the same noise maps in all images (those of published inversions) "
                                       "instead of an image's own")
    weights: str = option("ema", "averaged (ema) or raw weights of the networks", choices=["ema", "raw"])
    seed: int = flags.seed("codes and noise; image i draws from (seed, i)")
    batch_size: int = flags.batch_size(32, "-bs", help="images at a time on a GPU; on a CPU it has no effect")
    device: str = flags.device()
    model_name: str = option("blobgan", "the original's choice of networks; generate_ffhq makes StyleGAN2's images",
                             short="-m", choices=["blobgan", "stylegan", "stylegan1"], kind="how")
    model_data: Optional[str] = option(None, "the original's name of a published checkpoint in --dl_dir: bed, kitchen "
                                       "or conference (nothing is downloaded)", short="-d", kind="how")
    dl_dir: str = option("models", "folder of the published checkpoints", short="-dl", kind="how")


def main(options):
    """Run `generate_blobgan`; results: see tools/generate_blobgan/generate.py."""
    from tools.generate_blobgan.generate import generate

    return generate(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    from tools.generate_blobgan.generate import show

    return run(main, GenerateOptions, PROG, DESCRIPTION, EPILOG, words, place=lambda options: options.save_dir,
               show=show)


if __name__ == "__main__":
    leave(cli)
