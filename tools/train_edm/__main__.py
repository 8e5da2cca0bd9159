"""Train an EDM network (ADM, EDM's loss) on one's own images, for extract_real_imagenet and generate_dataset."""

import sys
from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import CommonOptions, option, run

PROG = "train_edm"
DESCRIPTION = """\
Trains a network that removes noise from images (Karras et al. 2022) on images of one's own: npz batches, class folders,
a zip of them, an LMDB, or a named data set. extract_real_imagenet and generate_dataset load the files it writes.
[preset]: the value of --preset when the flag is not given."""
EPILOG = """\
examples:
  train_edm --data digits --resolution 16 --class_balanced --output_dir out/train_edm
  train_edm --npz_dir patches --class_map none --class_balanced --output_dir out/train_edm
  torchrun --nproc_per_node 8 -m tools.train_edm --preset imagenet64 --data ILSVRC --preprocess center-crop \\
      --precision bf16 --accumulate 8 --save_every 500 --output_dir out/imagenet64"""


def of_preset(help, **more):
    """Return a flag whose value is the preset's when it is not given."""
    return option(None, f"{help} [preset]", **more)


@dataclass(kw_only=True)
class EdmTrainOptions(CommonOptions):
    """Flags of `train_edm`."""

    data: Optional[str] = option(None,
                                 "images: folder of npz batches, tree of class folders, zip of one, .npz of images, "
                                 "or digits, photos32, photos64, cifar10 ...", kind="how")
    npz_dir: Optional[str] = option(None, "instead: folder of npz batches", kind="how")
    imagenet_dir: Optional[str] = option(None, "instead: tree or zip of class folders", kind="how")
    lmdb_path: Optional[str] = option(None, "instead: LMDB of 64 x 64 images (needs the package lmdb)", kind="how")
    data_dir: Optional[str] = flags.data_dir()
    output_dir: str = option("out/train_edm", "output directory", kind="how")
    preset: str = option("small32", "network and training: python -m tools presets", choices=["small32", "imagenet64"],
                         kind="how")
    split: Optional[str] = option(None, "sub-folder of a tree, or all of it (default: train where there is one)",
                                  choices=["train", "val", "all"])
    npz_subset: str = option("auto", "npz files: train (numbered), val, or numbered ones where there are any",
                             choices=["auto", "train", "val"])
    class_map: str = option("imagenet",
                            "how labels become classes: imagenet, none (label - 1; folders in sorted order), or a "
                            ".json")
    preprocess: str = option("squash", "files: squash (Lanczos), center-crop (as EDM's training sets were made), box",
                             choices=["squash", "center-crop", "box"])
    resize: str = option("box", "arrays of another size", choices=["box", "lanczos"])
    conditional: bool = option(True, "give the network the class")
    label_dim: Optional[int] = option(None, "number of classes of the network (default: those of the class map)", low=1)
    class_balanced: bool = option(False, "sample classes uniformly, instead of all images in turn")
    xflip: bool = option(False, "random horizontal flip, p = 0.5")
    label_dropout: float = option(0.0,
                                  "label-drop probability (classifier-free guidance: 0.1)", low=0, below=1)
    resolution: Optional[int] = of_preset("pixels", low=1)
    model_channels: Optional[int] = of_preset("channels of the widest level, times channel_mult", low=1)
    channel_mult: List[int] = option([], "one entry a level, each half as wide [preset]", nargs="+", type=int)
    channel_mult_emb: Optional[int] = of_preset("width of the embedding, times model_channels", low=1)
    num_blocks: Optional[int] = of_preset("blocks a level", low=1)
    attn_resolutions: List[int] = option([], "levels with attention where 64 channels or more, 0 for none [preset]",
                                         nargs="+", type=int)
    dropout: Optional[float] = of_preset("dropout in the blocks", low=0, below=1)
    steps: Optional[int] = of_preset("steps in all; a larger number goes on", kind="total", low=1)
    batch_size: Optional[int] = of_preset("images of a step, over all processes", low=1)
    lr: Optional[float] = of_preset("Adam's learning rate", above=0)
    warmup: Optional[int] = of_preset("steps over which the rate rises", low=0)
    lr_decay: Optional[str] = of_preset("schedule after warm-up: constant, or a cosine to --lr_floor at the last step",
                                        choices=["none", "cosine"])
    lr_floor: float = option(0.05, "where the cosine ends, as a share of --lr", low=0, high=1)
    beta2: Optional[float] = of_preset("Adam's second beta (the first is 0.9)", low=0, below=1)
    adam_eps: Optional[float] = of_preset("Adam's epsilon", low=0)
    grad_clip: float = option(0.0, "largest norm of the gradient, 0 for any", low=0)
    ema_halflife_kimg: Optional[float] = of_preset("half-life of the averaged weights, in thousands of images", low=0)
    ema_rampup_ratio: Optional[float] = of_preset("EMA ramp-up: cap on the half-life, as a share of the images seen; "
                                                  "0 for none", low=0)
    p_mean: float = option(-1.2, "mean of ln sigma", above=-20, below=20)
    p_std: float = option(1.2, "standard deviation of ln sigma", above=0)
    restore: Optional[str] = option(None, "start from the weights of this network file (.pkl, .pth, .safetensors ...)",
                                    kind="how")
    accumulate: int = flags.accumulate()
    precision: str = flags.precision()
    compile: bool = flags.compile()
    memory_gb: float = flags.memory_gb()
    seed: int = flags.seed("weights, images, noise and sample pictures")
    device: str = flags.device()
    num_workers: int = flags.num_workers(1, "threads that prepare batches ahead")
    log_every: int = option(10, "steps between lines of log.jsonl", kind="how", low=1)
    save_every: int = option(200, "steps between savings of what a killed run goes on from", kind="how", low=1)
    snapshot_every: int = option(0, "steps between networks that are kept, 0 for the last alone", kind="how", low=0)
    sample_every: int = option(0, "steps between sample pictures, 0 for the last alone", kind="how", low=0)
    tensorboard: bool = flags.tensorboard()
    wandb: bool = flags.wandb()
    samples_per_class: int = option(8, "images in each row of a sample picture, 0 for no pictures", low=0)
    sample_steps: Optional[int] = of_preset("sample pictures: steps of Heun's sampler", low=1)
    sample_sigma_max: Optional[float] = of_preset("sample pictures: first noise level", above=0)
    sample_sigma_min: Optional[float] = of_preset("sample pictures: last noise level above 0", above=0)


def main(options):
    """Run `train_edm`; results: see tools/train_edm/train.py."""
    from tools.train_edm.train import train

    return train(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, EdmTrainOptions, PROG, DESCRIPTION, EPILOG, words, place=lambda options: options.output_dir)


if __name__ == "__main__":
    sys.exit(cli())
