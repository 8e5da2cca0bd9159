"""Train an EDM network (ADM, EDM's loss) on your own images, for extract_real_imagenet and generate_dataset."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import leave, run
from common.options import CommonOptions, option

PROG = "train_edm"
DESCRIPTION = """\
Trains an EDM denoiser (Karras et al. 2022) on your own images: npz batches, class folders or a zip of them, an LMDB,
or a named data set. extract_real_imagenet and generate_dataset load the files it writes.
[preset]: the default comes from --preset."""
EPILOG = """\
examples:
  train_edm --data digits --resolution 16 --class_balanced --output_dir out/train_edm
  train_edm --npz_dir patches --class_map none --class_balanced --output_dir out/train_edm
  torchrun --nproc_per_node 8 -m tools.train_edm --preset imagenet64 --data ILSVRC --preprocess center-crop \\
      --precision bf16 --accumulate 8 --save_every 500 --output_dir out/imagenet64"""


def of_preset(help, **more):
    """Return a flag whose default is the preset's value."""
    return option(None, f"{help} [preset]", **more)


@dataclass(kw_only=True)
class EdmTrainOptions(CommonOptions):
    """Flags of `train_edm`."""

    data: Optional[str] = option(None,
                                 "images: folder of npz batches, tree of class folders, zip of one, .npz of images, "
                                 "or digits, photos32, photos64, cifar10 ...", kind="how")
    npz_dir: Optional[str] = option(None, "instead of --data: folder of npz batches", kind="how")
    imagenet_dir: Optional[str] = option(None, "instead of --data: tree or zip of class folders", kind="how")
    lmdb_path: Optional[str] = option(None, "instead of --data: LMDB of 64 x 64 images (needs the package lmdb)",
                                      kind="how")
    data_dir: Optional[str] = flags.data_dir()
    output_dir: str = option("out/train_edm", "output directory", kind="how")
    preset: str = option("small32", "preset of network and training (python -m tools presets)",
                         choices=["small32", "imagenet64"], kind="how")
    split: Optional[str] = option(None, "subfolder of a tree, or all of it (default: train if there is one)",
                                  choices=["train", "val", "all"])
    npz_subset: str = flags.npz_subset()
    npz_partial: bool = flags.npz_partial()
    class_map: str = flags.class_map()
    preprocess: str = option("squash", "image files: squash (Lanczos), center-crop (as in EDM's training sets), or box",
                             choices=["squash", "center-crop", "box"])
    resize: str = option("box", "resampling of arrays whose size differs from --resolution", choices=["box", "lanczos"])
    conditional: bool = option(True, "class-conditional network")
    label_dim: Optional[int] = option(None, "number of classes (default: from the class map)", low=1)
    class_balanced: bool = option(False, "sample classes uniformly, instead of epochs over all images")
    xflip: bool = option(False, "random horizontal flip, p = 0.5")
    label_dropout: float = option(0.0,
                                  "label-drop probability (classifier-free guidance: 0.1)", low=0, below=1)
    resolution: Optional[int] = of_preset("image size in pixels", low=1)
    model_channels: Optional[int] = of_preset("base number of channels", low=1)
    channel_mult: List[int] = option([], "channel multiplier per level, each at half the resolution [preset]",
                                     nargs="+", type=int)
    channel_mult_emb: Optional[int] = of_preset("embedding width, as a multiple of --model_channels", low=1)
    num_blocks: Optional[int] = of_preset("residual blocks per level", low=1)
    attn_resolutions: List[int] = option([], "resolutions with self-attention (64 channels or more), 0: none [preset]",
                                         nargs="+", type=int)
    dropout: Optional[float] = of_preset("dropout probability in the residual blocks", low=0, below=1)
    steps: Optional[int] = of_preset("total number of steps; a larger one extends the run", kind="total", low=1)
    batch_size: Optional[int] = of_preset("images per step, over all processes", low=1)
    lr: Optional[float] = of_preset("Adam's learning rate", above=0)
    warmup: Optional[int] = of_preset("steps of linear learning-rate warm-up", low=0)
    lr_decay: Optional[str] = of_preset("schedule after warm-up: constant, or a cosine to --lr_floor at the last step",
                                        choices=["none", "cosine"])
    lr_floor: float = option(0.05, "end of the cosine, as a fraction of --lr", low=0, high=1)
    beta2: Optional[float] = of_preset("Adam's beta2 (beta1 is 0.9)", low=0, below=1)
    adam_eps: Optional[float] = of_preset("Adam's epsilon", low=0)
    grad_clip: float = option(0.0, "clip the gradient norm to this, 0 for no clipping", low=0)
    ema_halflife_kimg: Optional[float] = of_preset("EMA half-life, in thousands of images", low=0)
    ema_rampup_ratio: Optional[float] = of_preset("EMA ramp-up: cap on the half-life, as a fraction of images seen; "
                                                  "0 for none", low=0)
    p_mean: float = option(-1.2, "mean of ln sigma", above=-20, below=20)
    p_std: float = option(1.2, "standard deviation of ln sigma", above=0)
    restore: Optional[str] = option(None, "initial weights from this network file (.pkl, .pth, .safetensors ...)",
                                    kind="how")
    accumulate: int = flags.accumulate()
    precision: str = flags.precision()
    compile: bool = flags.compile()
    memory_gb: float = flags.memory_gb()
    seed: int = flags.seed("weights, images, noise and sample grids")
    device: str = flags.device()
    num_workers: int = flags.num_workers(1, "threads that prefetch batches")
    log_every: int = option(10, "steps between lines of log.jsonl", kind="how", low=1)
    save_every: int = option(200, "steps between checkpoints of the training state", kind="how", low=1)
    snapshot_every: int = option(0, "steps between network snapshots, 0 for the final one only", kind="how", low=0)
    sample_every: int = option(0, "steps between sample grids, 0 for the final one only", kind="how", low=0)
    tensorboard: bool = flags.tensorboard()
    wandb: bool = flags.wandb()
    samples_per_class: int = option(8, "images per row of a sample grid, 0 for no grids", low=0)
    sample_steps: Optional[int] = of_preset("sample grids: steps of Heun's sampler", low=1)
    sample_sigma_max: Optional[float] = of_preset("sample grids: initial noise level", above=0)
    sample_sigma_min: Optional[float] = of_preset("sample grids: lowest noise level above 0", above=0)


def main(options):
    """Run `train_edm`; results: see tools/train_edm/train.py."""
    from tools.train_edm.train import train

    return train(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, EdmTrainOptions, PROG, DESCRIPTION, EPILOG, words, place=lambda options: options.output_dir)


if __name__ == "__main__":
    leave(cli)
