"""Train a BlobGAN, a generator of images from layouts of blobs, on a folder of images."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import leave, run
from common.options import option
from tools.train_blobgan.original_options import OriginalOptions
from tools.train_blobgan.parts import LARGEST

PROG = "train_blobgan"
OUTPUT_DIR = "out/train_blobgan"
DESCRIPTION = """\
Trains BlobGAN (Epstein et al. 2022) for square pictures, or for rectangular ones as OCTET has it, on a folder, a zip or
an npz of images, or a named data set. generate_blobgan, train_encoder and compute_fid read the checkpoints it writes.
A killed run resumes."""
EPILOG = """\
examples:
  train_blobgan --data photos32 --preset streets --max_steps 400 --output_dir out/train_blobgan
  train_blobgan --data bdd100k/images/100k --batch_size 8 --precision bf16 --output_dir out/blobgan40
  torchrun --nproc_per_node 4 -m tools.train_blobgan --data bdd100k/images/100k --batch_size 32 --stddev_rows 4"""


def of_preset(help, **more):
    """Return a flag whose default is the preset's value."""
    return option(None, f"{help} (default: the preset's)", **more)


def steps_of_preset(help, low=0, **more):
    """Return the flag of a number of steps between two outputs."""
    return option(None, f"{help} (default: the preset's)", kind="how", low=low, type=flags.whole_number, **more)


@dataclass(kw_only=True)
class TrainOptions(OriginalOptions):
    """Flags of `train_blobgan`."""

    data: Optional[str] = option(None, "training images: folder (train/val/test or flat), zip, npz, or a data set's "
                                 "name; required unless a run is resumed", kind="how")
    data_dir: Optional[str] = flags.data_dir()
    output_dir: str = option(OUTPUT_DIR, "output directory", kind="how")
    preset: str = option("blobgan40", "preset of network and training (python -m tools presets)",
                         choices=["blobgan40", "streets"], kind="how")
    fit: str = option("squash", "squash: resize to exactly the network's size (square pictures: crop instead); cover: "
                      "crop", choices=["squash", "cover"])
    pack: Optional[str] = option(None, "file for the prepared images, mapped into memory: made by the first run, used "
                                 "by every run on the same images", kind="how")
    xflip: Optional[bool] = of_preset("random horizontal flip, p = 0.5")
    resolution: Optional[int] = of_preset("height of the pictures in pixels, a power of two", low=8, high=1024)
    aspect_ratio: Optional[float] = of_preset("width over height", above=0, high=4)
    n_features: Optional[int] = of_preset("number of blobs", low=1)
    noise_dim: Optional[int] = of_preset("width of the noise z", low=1)
    dim: Optional[int] = of_preset("width of a blob's style", low=1)
    feature_dim: Optional[int] = of_preset("width of a blob's structure feature", low=1)
    override_c_in: Optional[int] = option(None, "input channels of the generator, which must be --feature_dim (the "
                                          "default)", low=1)
    size_in: Optional[int] = of_preset("height of the feature grid that the generator starts from", low=4)
    c_model: Optional[int] = of_preset("the generator's channels at 512 px; 2, 4, 8 times as many at 256, 128, 64 and "
                                       "below", low=1)
    generator_channels: List[int] = option([], "the generator's channels at --size_in, twice that, ..., instead of "
                                           "--c_model (default: the preset's)", nargs="+", type=int, low=1)
    discriminator_channels: List[int] = option([], "the discriminator's channels at --resolution, half that, ..., 4 "
                                               "(default: the preset's, else the published ones)", nargs="+", type=int,
                                               low=1)
    channel_multiplier: Optional[int] = of_preset("multiplier of the published channels of the discriminator", low=1)
    n_mlp: Optional[int] = of_preset("layers of the layout network", low=2)
    mlp_hidden_dim: Optional[int] = of_preset("hidden width of the layout network", low=1)
    mlp_lr_mul: Optional[float] = of_preset("learning-rate multiplier of the layout network", above=0)
    norm_features: bool = option(True, "scale features and styles to a root mean square of 1")
    detach_covs: Optional[bool] = of_preset("no gradient for the shapes of blobs, as in OCTET; --nodetach_covs: "
                                            "they are trained, as in the original BlobGAN")
    max_steps: Optional[int] = of_preset("total number of steps, one for each batch; a larger one extends the run",
                                         kind="total", low=1, type=flags.whole_number)
    batch_size: Optional[int] = of_preset("images per step, over all processes", low=1, high=LARGEST)
    stddev_rows: Optional[int] = option(None, "rows of a batch whose standard deviation the discriminator sees "
                                        "together (default: the batch)", low=1, high=LARGEST)
    lr: Optional[float] = of_preset("AdamW's learning rate, times n / (n + 1) for the discriminator with R1 every n "
                                    "steps", above=0)
    lr_fall: Optional[float] = of_preset("share of the steps, at the end, over which the learning rate falls linearly "
                                         "to 0", low=0, high=1)
    eps: Optional[float] = of_preset("AdamW's epsilon", above=0)
    ema_decay: Optional[float] = of_preset("decay of the averaged generator and layout network, per step", low=0,
                                           below=1)
    D_reg_every: Optional[int] = of_preset("steps between gradient penalties R1, 0 for none", low=0)
    lambda_D_real: float = option(1.0, "weight of the discriminator's loss on real images", low=0)
    lambda_D_fake: float = option(1.0, "weight of the discriminator's loss on generated images", low=0)
    lambda_D_R1: Optional[float] = of_preset("weight of R1, times --D_reg_every where it is due", low=0)
    lambda_G: float = option(1.0, "weight of the generator's loss", low=0)
    feature_jitter_xy: Optional[float] = of_preset("jitter of the blobs' positions, uniform within +- this", low=0)
    feature_jitter_shift: Optional[float] = of_preset("jitter of the blobs' sizes", low=0)
    feature_jitter_angle: Optional[float] = of_preset("jitter of the blobs' angles, in radians", low=0)
    start_weights: Optional[str] = option(None, "start from the weights of this BlobGAN checkpoint, with new optimiser "
                                          "moments", kind="how")
    accumulate: int = option(1, "parts that a batch is computed in, one after the other, to save memory; each holds "
                             "whole sets of --stddev_rows", kind="how", low=1, high=LARGEST)
    max_bad_steps: int = option(10, "steps in a row that may be skipped because a loss or gradient is not finite "
                                "before the run ends", kind="how", low=0)
    detect_anomalies: bool = option(False, "name the layer whose output or gradient is not finite (slow)", kind="how")
    precision: str = flags.precision()
    compile: bool = option(False, "compile the generator with torch.compile (not the discriminator: R1 needs a "
                           "second derivative, which compiled code lacks)", kind="how")
    recompute: bool = option(False, "recompute the generator's activations in its backward pass: less memory, more "
                             "time", kind="how")
    memory_gb: float = flags.memory_gb()
    seed: int = flags.seed("weights, images, noise and pictures")
    device: str = flags.device()
    num_workers: int = flags.num_workers(1, "threads that prefetch batches, and make --pack")
    log_every_n_steps: Optional[int] = steps_of_preset("steps between lines of log.jsonl", low=1)
    log_images_every_n_steps: Optional[int] = steps_of_preset("steps between pictures in samples/, 0 for the final one "
                                                              "only")
    n_ema_sample: int = option(4, "pictures of each kind in samples/", kind="how", low=2, high=64)
    state_every: int = option(500, "steps between states to resume from", kind="how", low=1)
    every_n_train_steps: Optional[int] = steps_of_preset("steps between checkpoints, 0 for the final one only")
    save_top_k: Optional[int] = of_preset("checkpoints kept besides the last: -1 all, 0 none, k the best by "
                                          "--monitor", kind="how", low=-1)
    monitor: Optional[str] = of_preset("what ranks checkpoints", choices=["step", "train/fid"], kind="how")
    mode: Optional[str] = of_preset("auto: the newest for step, the lowest for train/fid",
                                    choices=["auto", "min", "max"], kind="how")
    safetensors: bool = option(False, "write the averaged networks as .safetensors beside each checkpoint, too",
                               kind="how")
    log_fid_every_n_steps: int = option(0, "steps between measurements of FID, 0 or less for none", kind="how",
                                        type=flags.whole_number)
    log_fid_every_epoch: bool = option(False, "measure FID at the end of each epoch", kind="how")
    fid_n_imgs: int = option(50_000, "generated images of a measurement", low=2, type=flags.whole_number)
    fid_batch_size: int = flags.batch_size(16)
    fid_stats_name: Optional[str] = option(None, "statistics to compare with, by the name given to setup_fid; upper or "
                                           "lower case")
    reference: Optional[str] = option(None, "images, or a file of statistics, instead of --fid_stats_name", kind="how")
    stats_dir: Optional[str] = option(None, "folder of the named statistics", kind="how")
    extractor: str = option("inception", "features that are compared", choices=["inception", "small"])
    fid_weights: Optional[str] = option(None, "Inception's weights (pt_inception-2015-12-05)", kind="how")
    any_stats: bool = option(False, "accept statistics of images that were resized in another way than the training's",
                             kind="how")
    tensorboard: bool = flags.tensorboard()
    wandb: bool = flags.wandb()


def main(options):
    """Run `train_blobgan`; results: see tools/train_blobgan/train.py."""
    from tools.train_blobgan.train import train

    return train(options, OUTPUT_DIR)


def place(options):
    """Return the folder of a command's record, None for one of its own that is not settled yet."""
    return options.output_dir if options.log_dir is None and options.resume_id is None else None


def translated(words):
    """Return the command's words with those of the original as flags."""
    from tools.train_blobgan.presets import VALUES
    from tools.train_blobgan.words import translate

    return translate(words, TrainOptions, VALUES)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, TrainOptions, PROG, DESCRIPTION, EPILOG, words, place=place,
               translate=translated)


if __name__ == "__main__":
    leave(cli)
