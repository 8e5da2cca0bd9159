"""FID, sFID, KID, Inception score, precision/recall, MIND, Vendi score of a generator, a folder or stored features."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import dispatch, leave, run
from common.options import REQUIRED, CommonOptions, option
from tools.compute_fid.names import METRICS, PAIR_METRICS

PROG = "compute_fid"
DESCRIPTIONS = {
    "clean": "Score images as clean-fid does, resized by PIL's float bicubic filter (or --mode legacy_*).",
    "fast": "Score images resized as tensors on the device; comparable with other fast scores only.",
    "pairs": "PSNR, SSIM and LPIPS of the images of equal names in two sets, such as restored images and originals.",
}
EPILOG = """\
examples:
  compute_fid {0} checkpoints/blobgan_256x512.ckpt --num_gen 50_000 --batch_size 16 --dataset_name bdd_rect_256
  compute_fid {0} results/qc/checkpoints/checkpoint_70.pth --dataset_name cifar10 --metrics fid,is
  compute_fid {0} generated_images --reference real_images --metrics fid,kid,prdc --output_dir out/scores"""

PAIRS_EPILOG = """\
examples:
  compute_fid pairs restored originals
  compute_fid pairs restored.zip originals --metrics psnr,ssim,lpips --lpips_weights alexnet-owt-7be5be79.pth
  compute_fid pairs results/x4 data/Set14/GTmod12 --y_channel --crop_border 4 --output_dir out/set14"""


@dataclass(kw_only=True)
class ScoreOptions(CommonOptions):
    """Flags of both commands."""

    checkpoint: str = option(REQUIRED,
                             "what to score: a generator (NCSN++, StyleGAN2 or BlobGAN checkpoint, TorchScript, "
                             "torch.export), a folder, zip or array of images, a named data set, or stored features "
                             "or statistics",
                             word=True)
    dataset_name: Optional[str] = option(None, "name of reference statistics made by setup_fid")
    reference: Optional[str] = option(None,
                                      "the reference itself: images, stored features or statistics, a named data set")
    metrics: List[str] = option(["fid"], f"any of {', '.join(METRICS)}, comma- or space-separated", nargs="+", type=str)
    num_gen: Optional[int] = option(None, "images to generate (default 50,000), or to take from a folder in path order "
                                    "(default all)", kind="total", low=2)
    batch_size: int = flags.batch_size(32, "-bs")
    num_workers: int = flags.num_workers(8, "threads that read and resize images", "-j")
    device: str = flags.device()
    seed: int = flags.seed("generated images (image i draws from (seed, i)) and of subsets")
    stats_dir: Optional[str] = option(None, "folder of statistics (GENPROBE_STATS, else fid_stats)", kind="how")
    extractor: str = flags.extractor()
    layer: int = flags.layer()
    weights: Optional[str] = option(None, "weights of the extractor, if not in one of the usual places", kind="how")
    resolution: List[int] = option([],
                                   "resize and crop files to this side, or height and width, as setup_fid does; 0 to "
                                   "leave them; default: as the stored side was", nargs="+", short="-r")
    fit: Optional[str] = option(None, "how files come to that size, as in setup_fid (default: as the stored side did, "
                                "else cover)", choices=["cover", "squash"])
    round: bool = option(True, "round generated images to uint8, like files; clean-fid scores floats")
    nearest_k: int = option(3, "prdc: k of the k-NN radius", low=1)
    inclusive: bool = option(False, "prdc: <= radius, as torch-fidelity and Kynkaanniemi et al.; prdc itself has <")
    splits: int = option(10, "is: splits of the Inception score over permuted images; 1 as in QC-NCSN", low=1)
    kid_subsets: int = option(100, "kid: number of subsets for clean-fid's estimate; 0 to skip it", low=0)
    kid_subset_size: int = option(1000, "kid: images per subset", low=2)
    kid_order: str = option("clean_fid", "kid: draw the subsets as clean-fid or torch-fidelity (with its --seed 2020)",
                            choices=["clean_fid", "torch_fidelity"])
    kid_pairs: str = option("auto", "kid: all pairs of images, subsets alone, or auto: all where they are no more than "
                            "those of the subsets (10,000 images)", choices=["auto", "all", "subsets"])
    kid_kernel: str = option("poly", "kid: the cubic kernel, or torch-fidelity's rbf", choices=["poly", "rbf"])
    kid_sigma: float = option(10.0, "kid: sigma of the rbf kernel", above=0)
    interval: bool = option(True, "standard error and 95 % interval when features are available")
    per_class: bool = option(False, "also fid and kid of each class: class folders or labels on both sides")
    split: str = option("train", "split of named data sets", choices=["train", "test"])
    reference_split: Optional[str] = option(None, "split of the reference (default: --split)",
                                            choices=["train", "test"])
    data_dir: Optional[str] = flags.data_dir()
    config: Optional[str] = option(None, "generator: preset, for NCSN++ checkpoints without their configuration")
    method: Optional[str] = option(None, "generator: sampler of an NCSN++ checkpoint",
                                   choices=["multistep", "pc", "ode"])
    num_steps: Optional[int] = option(None, "generator: sampler steps", low=1)
    z_dim: Optional[int] = option(None, "generator: dimension of z, where the module does not define it", low=1)
    truncation: Optional[float] = option(None, "generator: truncation of a StyleGAN2 or BlobGAN (default 1, none; "
                                         "generate_blobgan's is 1 minus it)", low=0)
    output_range: Optional[str] = option(None,
                                         "generator: output range of a module: signed -1 to 1 (default), unit 0 to 1, "
                                         "bytes 0 to 255", choices=["signed", "unit", "bytes"])
    cache_gb: Optional[float] = flags.cache_gb()
    num_classes: Optional[int] = option(None, "generator: classes of a module of z and labels; image i's class is "
                                        "drawn from (seed, i)", low=1)
    class_label: Optional[int] = option(None, "generator: this class alone, from 0", low=0)
    output_dir: Optional[str] = option(None, "also write run.json and table.csv there, for `report`", kind="how")


@dataclass(kw_only=True)
class CleanOptions(ScoreOptions):
    """Flags of `compute_fid clean`."""

    mode: str = option("clean", "clean-fid's preprocessing", choices=["clean", "legacy_pytorch", "legacy_tensorflow"])


@dataclass(kw_only=True)
class FastOptions(ScoreOptions):
    """Flags of `compute_fid fast`."""

    antialias: bool = option(True, "antialiased resize to 299; torchvision before 0.17 did not antialias")


@dataclass(kw_only=True)
class PairsOptions(CommonOptions):
    """Flags of `compute_fid pairs`."""

    first: str = option(REQUIRED, "images: a folder, zip, tar, parquet, list or array", word=True)
    second: str = option(REQUIRED, "the images that they are compared with, of the same names (arrays, lists and "
                         "parquet files: in the same order)", word=True)
    metrics: List[str] = option(["psnr", "ssim"], f"any of {', '.join(PAIR_METRICS)}, comma- or space-separated",
                                nargs="+", type=str)
    lpips_weights: Optional[str] = option(None, "AlexNet's or VGG-16's weights for LPIPS (torchvision's file)",
                                          kind="how")
    y_channel: bool = option(False, "psnr, ssim: of the luma of BT.601 (BasicSR's test_y_channel), not of RGB")
    crop_border: int = option(0, "pixels cut off on each side first, as BasicSR does for super-resolution", low=0)
    common: bool = option(False, "leave out images without a partner, with a note; default: they are refused")
    batch_size: int = flags.batch_size(8, "-bs", "pairs per forward pass of LPIPS")
    num_workers: int = flags.num_workers(8, "threads that read and compare images", "-j")
    device: str = flags.device()
    output_dir: Optional[str] = option(None, "also write run.json, table.csv and pairs.csv there", kind="how")


def _main(options):
    from tools.compute_fid.score import score

    return score(options)


def _main_pairs(options):
    from tools.compute_fid.pairs import score_pairs

    return score_pairs(options)


def _pairs(words):
    from tools.compute_fid.pairs import show

    return run(_main_pairs, PairsOptions, f"{PROG} pairs", DESCRIPTIONS["pairs"], PAIRS_EPILOG, words, "pairs",
               lambda options: options.output_dir, show)


def _command(name, options_class):
    def start(words):
        from tools.compute_fid.score import show

        return run(_main, options_class, f"{PROG} {name}", DESCRIPTIONS[name], EPILOG.format(name), words, name,
                   lambda options: options.output_dir, show)

    return start


COMMANDS = {
    "clean": (DESCRIPTIONS["clean"], _command("clean", CleanOptions)),
    "fast": (DESCRIPTIONS["fast"], _command("fast", FastOptions)),
    "pairs": (DESCRIPTIONS["pairs"], _pairs),
}


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return dispatch(COMMANDS, PROG, __doc__, words)


if __name__ == "__main__":
    leave(cli)
