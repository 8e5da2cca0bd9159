"""Run real ImageNet images through a DMD2 or EDM network and store the activations of its layers."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.activations.layout import REAL, Tree
from common.activations.options import ActivationOptions
from common.cli import leave, run
from common.options import option

PROG = "extract_real_imagenet"
DESCRIPTION = """\
Runs real images (npz batches of downsampled ImageNet, a tree or zip of JPEGs, an LMDB) through a class-conditional EDM
or DMD2 network and stores the activations of named layers in the tree that process_embeddings reads and
generate_dataset shares."""
EPILOG = """\
examples:
  extract_real_imagenet --checkpoint_path dmd2/pytorch_model.bin --npz_dir Imagenet64_train_npz --num_samples 10000
  extract_real_imagenet --checkpoint_path edm-imagenet-64x64-cond-adm.pkl --imagenet_dir ILSVRC \\
      --preprocess center-crop --input_mode clean --conditioning_sigma 0.2 --label_mode none --noreconstructions \\
      --format npy --dtype float16"""


@dataclass(kw_only=True)
class ExtractOptions(ActivationOptions):
    """Flags of `extract_real_imagenet`."""

    imagenet_dir: Optional[str] = option(None, "tree of JPEGs (ROOT/val/n01440764/*.JPEG), or a zip of one", kind="how")
    npz_dir: Optional[str] = option(None, "folder of npz batches", kind="how")
    lmdb_path: Optional[str] = option(None, "LMDB of 64 x 64 images (needs the package lmdb)", kind="how")
    num_samples: int = option(1000, "number of samples, such as 10000 or 1e4, or all; capped at the size of the data "
                              "set", kind="total", low=1, type=flags.number_or_all, metavar="N")
    conditioning_sigma: float = option(80.0, "noise level the network is conditioned on")
    split: Optional[str] = option(None, "subfolder of --imagenet_dir, or all of it (default: val); recorded for npz "
                                  "files (default: train or val, by their names)", choices=["val", "train", "all"])
    seed: int = flags.seed("the order of samples and the noise of --input_mode noise", 10)
    num_classes: Optional[int] = option(None, "number of classes to draw at random (default: all)", low=1)
    target_classes: Optional[str] = option(None,
                                           "only these classes, comma-separated: numbers in the network's order, "
                                           "synsets or names")
    class_balanced: bool = option(False, "equal number of samples per class")
    order: str = option("random", "order of the chosen samples: random, or as stored",
                        choices=["random", "storage"])
    scores: Optional[str] = option(None,
                                   "for --percentiles: a CSV with a score per image, or denoise (the network's "
                                   "denoising error)", kind="how")
    score_sigma: float = option(0.5, "noise level of --scores denoise", low=1e-5, high=1e5)
    score_column: str = option("score", "score column of the CSV, beside original_path or index")
    percentiles: List[float] = option([], "keep images with scores between two percentiles", nargs=2, type=float)
    percentile_scope: str = option("all", "percentiles over all images, or within each class", choices=["all", "class"])
    input_mode: str = option("scale", "network input: sigma x image (as the original), image + sigma x noise, or clean",
                             choices=["scale", "noise", "clean"])
    label_mode: str = option("own", "labels given to the network: each image's own, none, or uniform",
                             choices=["own", "none", "uniform"])
    class_map: str = flags.class_map()
    npz_subset: str = flags.npz_subset()
    npz_partial: bool = flags.npz_partial()
    unpack: str = option("selected",
                         "rows of compressed files to keep uncompressed in the cache",
                         choices=["selected", "all"], kind="how")
    preprocess: str = option("squash",
                             "JPEGs: squash (Lanczos), center-crop (as in EDM's training sets), box (as npz)",
                             choices=["squash", "center-crop", "box"])
    resize: str = option("box", "resampling of arrays of a size other than the network's", choices=["box", "lanczos"])
    format: str = option("npz", "npz batches, json (published), or npy: one activations.npy (fast)",
                         choices=["npz", "npy"])
    images: str = option("original", "images to store: original files, the network's input size, or none",
                         choices=["original", "network", "none"])
    reconstructions: bool = option(True, "store the network's output; without, the pass ends at the last wanted layer")
    adapter: str = option("dmd2-imagenet-64", "network name for the metadata",
                          choices=["dmd2-imagenet-64", "edm-imagenet-64"])
    label_dropout: float = option(0.0, "accepted for old commands, without effect at inference", kind="how")
    precision: str = flags.precision()
    num_workers: int = flags.num_workers(2, "threads that decode and write images", low=1)


def main(options):
    """Run `extract_real_imagenet`; results: see tools/extract_real_imagenet/extract.py."""
    from tools.extract_real_imagenet.extract import extract

    return extract(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, ExtractOptions, PROG, DESCRIPTION, EPILOG, words,
               place=lambda options: Tree(options.output_dir, REAL).metadata)


if __name__ == "__main__":
    leave(cli)
