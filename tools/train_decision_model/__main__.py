"""Train a decision model: pictures -> attributes, or one of many classes; what counterfactuals explain."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import leave, run
from common.options import CommonOptions, option

PROG = "train_decision_model"
DESCRIPTION = """\
Trains the classifier that counterfactuals explain, or a second one as an independent oracle: several attributes (a
sigmoid each) or one of many classes (a softmax). Writes the published dictionary (checkpoint.tar) with the names of the
attributes, and measures it on images that it was not trained on. A killed run resumes."""
EPILOG = """\
examples:
  train_decision_model --bddoia data/bdd_oia --preset bddoia --imagenet_weights densenet121-a639ec97.pth
  train_decision_model --csv train/truth.csv --images train --val_csv val/truth.csv --val_images val --preset small
  train_decision_model --data animals --arch resnet50 --imagenet_weights resnet50-0676ba61.pth --epochs 10
  torchrun --nproc_per_node 8 -m tools.train_decision_model --bddoia data/bdd_oia --preset bddoia --batch_size 64"""


@dataclass(kw_only=True)
class DecisionOptions(CommonOptions):
    """Flags of `train_decision_model`."""

    bddoia: Optional[str] = option(None, "folder of BDD-OIA: {train,val}_25k_images_actions.json, and data/ with the "
                                   "images", kind="how")
    reasons: bool = option(False, "train the 21 reasons of BDD-OIA too (*_reasons.json); densenet121 alone")
    csv: Optional[str] = option(None, "table with the name of each image and a column of 0 and 1 for each attribute",
                                kind="how")
    images: Optional[str] = option(None, "folder of the images of --csv (default: that of the table)", kind="how")
    val_csv: Optional[str] = option(None, "table of the held-out images (default: those whose column split says test "
                                    "or val, else a share)", kind="how")
    val_images: Optional[str] = option(None, "folder of the images of --val_csv (default: that of the table)",
                                       kind="how")
    attributes: List[str] = option([], "columns of --csv to train on (default: all that hold 0 and 1)", nargs="+",
                                   metavar="NAME")
    data: Optional[str] = option(None, "folder with a subfolder for each class, an npz, or a data set by name (digits, "
                                 "cifar10, ...)", kind="how")
    data_dir: Optional[str] = flags.data_dir()
    val_share: float = option(0.1, "share of the images that is held out where nothing says which", above=0, below=1)
    preset: Optional[str] = option(None, "recipe: bddoia (as published), small (images of about 32 px); explicit "
                                   "flags override it", choices=["bddoia", "small"])
    arch: Optional[str] = option(None, "network (default: densenet121)",
                                 choices=["densenet121", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
                                          "small"])
    width: int = option(8, "channels of the first layer of --arch small", low=1, high=65_536)
    imagenet_weights: Optional[str] = option(None, "torchvision's file to start from, such as "
                                             "densenet121-a639ec97.pth, or none (default: random weights)",
                                             kind="how")
    size: Optional[str] = option(None, "height and width of the network's pictures, as 256x512 (default: the first "
                                 "image's own, at most 256 high)")
    fit: str = option("squash", "how images are brought to --size: stretched, or scaled to cover it and cropped",
                      choices=["squash", "cover"])
    output_dir: str = option("out/train_decision_model", "output directory", kind="how")
    steps: Optional[int] = option(None, "total number of steps; a larger one extends the run (default: by --epochs)",
                                  kind="total", low=1, type=flags.whole_number)
    epochs: Optional[float] = option(None, "length in passes over the images, where --steps is not given (default: "
                                     "10)", kind="how", above=0)
    batch_size: Optional[int] = option(None, "images per step, over all processes (default: 32)", low=2)
    lr: Optional[float] = option(None, "learning rate of Adam, its peak with onecycle (default: 3e-4)", above=0)
    lr_schedule: Optional[str] = option(None, "constant, or onecycle: up over 30 % of the steps, down to 0 (default: "
                                        "onecycle)", choices=["constant", "onecycle"])
    weight_decay: float = option(0.0, "decoupled weight decay (AdamW)", low=0)
    pos_weight: str = option("none", "weight of the positives in the loss; auto: negatives over positives (of classes: "
                             "by their number)", choices=["none", "auto"])
    flip: bool = option(False, "mirror images at random; left and right change places, their labels do not")
    blur: Optional[float] = option(None, "mix with a blurred copy, by up to this share (default: 0)", low=0, high=1)
    gain: Optional[float] = option(None, "scale each channel by 1 +- up to this (default: 0)", low=0, below=1)
    shift: Optional[float] = option(None, "add up to +- this, of a range of 2 (default: 0)", low=0)
    smooth_noise: Optional[float] = option(None, "add noise of 8 x 8 values, enlarged, of a standard deviation up to "
                                           "this (default: 0)", low=0)
    white_noise: Optional[float] = option(None, "add noise to each pixel, of a standard deviation up to this "
                                          "(default: 0)", low=0)
    calibrate: bool = option(False, "choose a temperature for each attribute on half of the held-out images")
    accumulate: int = option(1, "gradient-accumulation steps; batch norm sees one of the parts at a time", low=1)
    precision: str = flags.precision()
    seed: int = flags.seed("weights, batches and augmentation")
    device: str = flags.device()
    num_workers: int = flags.num_workers(4, "threads that prefetch batches")
    memory_gb: float = flags.memory_gb()
    test_batch_size: int = flags.batch_size(32, help="images per forward pass of the measurement")
    val_interval: Optional[int] = option(None, "steps between measurements of the held-out loss, which chooses the "
                                         "checkpoint (default: one pass over the images)", low=1)
    save_interval: int = option(500, "steps between states to resume from", kind="how", low=1)
    log_every: int = option(50, "steps between lines of log.jsonl", kind="how", low=1)
    tensorboard: bool = flags.tensorboard()
    wandb: bool = flags.wandb()


def main(options):
    """Run `train_decision_model`; results: see tools/train_decision_model/train.py."""
    from tools.train_decision_model.train import train

    return train(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, DecisionOptions, PROG, DESCRIPTION, EPILOG, words, place=lambda options: options.output_dir)


if __name__ == "__main__":
    leave(cli)
