"""Train a quantile encoder: degraded images -> lower, point and upper value of every style coordinate."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import leave, run
from common.options import REQUIRED, CommonOptions, option

PROG = "train_quantile_encoder"
DESCRIPTION = """\
Trains the encoder of generate_outputs_npz and calibrate_rcps on images of generate_ffhq: pinball losses for the lower
and the upper quantile, a mean square for the point, of the style vectors relative to the generator's mean. Flags have
the names of the original trainer; what it does with them and we do not is refused. A killed run resumes."""
EPILOG = """\
examples:
  train_quantile_encoder --generated_train_data_path assets/data/generated/1x --resize_factors 1,16,32 \\
      --stylegan_weights stylegan2-ffhq-config-f.pt --exp_dir assets/super_resolution --batch_size 8 --max_steps 100000
  torchrun --nproc_per_node 8 -m tools.train_quantile_encoder --generated_train_data_path images --batch_size 64 \\
      --pretrained_model_path model_ir_se50.pth --precision bf16 --exp_dir assets/super_resolution"""


def refused(default, what):
    """Return the flag of something that the original trainer does and this one does not: one value alone is taken."""
    return option(default, f"{what}; no other value is served")


@dataclass(kw_only=True)
class EncoderTrainOptions(CommonOptions):
    """Flags of `train_quantile_encoder`."""

    generated_train_data_path: str = option(REQUIRED, "training images with latents, flat or nested (generate_ffhq, "
                                            "factor 1)", kind="how")
    real_train_data_path: Optional[str] = option(None, "training images without latents, for the image losses",
                                                 kind="how")
    val_data_path: Optional[str] = option(None, "images with latents for validation", kind="how")
    generated_data_dir_prefix: str = option("", "take only images whose path below the folder begins so", empty=True)
    generated_share: float = option(0.7, "probability that an image of a batch is one with latents, where there are "
                                    "others", above=0, high=1)
    exp_dir: str = option("out/train_quantile_encoder", "output directory; the encoder goes to "
                          "models/superres_alpha_{alpha}.pt in it", kind="how")
    stylegan_weights: str = option("pretrained_models/stylegan2-ffhq-config-f.pt", "the generator that made the images",
                                   kind="how")
    encoder_type: str = option("ir_se50", "network; small is for images of some 16 px",
                               choices=["ir_se50", "ir50", "resnet18", "small"])
    encoder_size: Optional[int] = option(None, "side of the encoder's images in pixels (default: 256, or the "
                                         "generator's if that is less)", low=1, high=flags.LARGEST_SIDE)
    pretrained_model_path: Optional[str] = option(None, "start the backbone from an IR-SE50, a pSp or a quantile "
                                                  "encoder's checkpoint", kind="how")
    checkpoint_path: Optional[str] = option(None, "start all weights from this quantile encoder", kind="how")
    resize_factors: List[str] = option([], "factors of the degradation, separated by blanks or commas (default: those "
                                       "of 1,2,4,8,16,32 that fit the size)", nargs="+", metavar="R")
    resize_probabilities: List[str] = option([], "probabilities of the factors (default: equal)", nargs="+",
                                             metavar="P")
    alpha: float = option(0.1, "share of the truths outside: the quantiles are alpha/2 and 1 - alpha/2", above=0,
                          below=1)
    mse: bool = option(True, "mean square of the point head")
    use_quantile_loss_mask: bool = option(False, "train the coordinates of --dims alone")
    dims: Optional[str] = option(None, "coordinates of the validation: ffhq33, clevr28, all, numbers separated by "
                                 "commas, or a file of numbers (default: ffhq33 for 9,088 coordinates, else all)")
    l2_lambda: float = option(0.0, "weight of the mean square between rendered and true image", low=0)
    lpips_lambda: float = option(0.0, "weight of LPIPS between them, needs --lpips_weights", low=0)
    id_lambda: float = option(0.0, "weight of the identity loss between them, needs --id_weights", low=0)
    w_norm_lambda: float = option(0.0, "weight of the point's distance from the generator's mean", low=0)
    l2_lambda_crop: float = option(0.0, "weight of the mean square on the face's crop", low=0)
    lpips_lambda_crop: float = option(0.0, "weight of LPIPS on the face's crop", low=0)
    no_quantile_image_loss: bool = option(False, "image losses of the point alone, not of lower and upper values")
    lpips_weights: Optional[str] = option(None, "AlexNet's or VGG-16's weights (torchvision's file)", kind="how")
    id_weights: Optional[str] = option(None, "ArcFace's weights (model_ir_se50.pth)", kind="how")
    max_steps: int = option(1_000_000, "total number of steps; a larger one extends the run", kind="total", low=1,
                            type=flags.whole_number)
    batch_size: int = option(4, "images per step, over all processes", low=2)
    learning_rate: float = option(1e-3, "learning rate", above=0)
    optim_name: str = option("ranger", "optimiser", choices=["ranger", "adam"])
    warmup: int = option(0, "steps of linear learning-rate warm-up", low=0)
    lr_decay: str = option("none", "schedule: constant, or a cosine to --lr_floor at the last step",
                           choices=["none", "cosine"])
    lr_floor: float = option(0.02, "end of the cosine, as a fraction of --learning_rate", low=0, high=1)
    accumulate: int = option(1, "gradient-accumulation steps; batch norm sees one of the parts at a time", low=1)
    precision: str = flags.precision()
    memory_gb: float = flags.memory_gb()
    seed: int = flags.seed("weights, images and factors")
    device: str = flags.device()
    workers: int = flags.num_workers(4, "threads that prefetch batches")
    test_batch_size: int = flags.batch_size(2, help="images per forward pass of the validation")
    test_workers: int = flags.num_workers(2, "threads that read images of the validation")
    image_interval: int = option(250, "steps between pictures of rendered predictions, 0 for the final one only",
                                 kind="how", low=0)
    board_interval: int = option(50, "steps between lines of log.jsonl", kind="how", low=1)
    val_interval: int = option(1000, "steps between validations, 0 for the final one only", kind="how", low=0)
    save_interval: int = option(10_000, "steps between encoders in checkpoints/, 0 for none", kind="how", low=0)
    state_interval: int = option(500, "steps between states to resume from", kind="how", low=1)
    tensorboard: bool = flags.tensorboard()
    use_wandb: bool = flags.wandb()
    start_from_latent_avg: bool = refused(True, "values are relative to the generator's mean")
    use_style_vector_average: bool = refused(True, "the mean is that of the style vectors")
    input_nc: int = refused(3, "channels of the images")
    label_nc: int = refused(0, "label channels")
    output_size: Optional[int] = option(None, "side of the generator's images (default: as in its weights; another "
                                        "value is refused)", low=1)
    pretrained_psp_resolution: int = refused(256, "side of the pretrained pSp's images")
    experiment_type: str = refused("super_res", "degradation; the original's inpainting masks are not published")
    mask_threshold_low: float = refused(0.3, "of inpainting masks")
    mask_threshold_high: float = refused(0.95, "of inpainting masks")
    train_decoder: str = refused("False", "train the generator, too")
    learn_in_w: bool = refused(False, "predict W rather than StyleSpace")
    normalize_sv: bool = refused(False, "scale style vectors to their range")
    moco_lambda: float = refused(0.0, "weight of the MoCo loss")
    wandb_run_name: Optional[str] = refused(None, "name of the W&B run, which is that of --exp_dir")


def main(options):
    """Run `train_quantile_encoder`; results: see tools/train_quantile_encoder/train.py."""
    from tools.train_quantile_encoder.train import train

    return train(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, EncoderTrainOptions, PROG, DESCRIPTION, EPILOG, words, place=lambda options: options.exp_dir)


if __name__ == "__main__":
    leave(cli)
