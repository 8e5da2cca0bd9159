"""The flags of both stages and their presets: a preset's value stands where no flag is given."""

from dataclasses import dataclass, fields, replace
from typing import List, Optional

from common import flags, parallel
from common.effects import check_effects
from common.errors import InputError, Parameter
from common.options import CommonOptions, option

SIDES = ("real", "fake")
MEASURES = ("lpips", "MSE", "decision")  # of pictures: SIDE_MEASURE is a flag with its weight
TERMS = (*(f"{side}_{measure}" for side in SIDES for measure in MEASURES), "fake_latents_MSE", "fake_vector_MSE")
ZERO = dict.fromkeys(TERMS, 0.0)
RECT = {**ZERO, "real_lpips": 1.0, "real_MSE": 0.1, "real_decision": 0.05, "fake_lpips": 1.0, "fake_MSE": 1.0,
        "fake_decision": 0.1, "fake_latents_MSE": 10.0}
SQUARE = {**ZERO, "real_lpips": 1.0, "real_MSE": 1.0, "fake_lpips": 1.0, "fake_MSE": 1.0, "fake_latents_MSE": 5.0}
STREETS = {"batch_size": 16, "n_iters": 300, "schedule": "linear", "channels": [16, 32, 48, 48], "mlp_idx": "raw"}
PRETRAIN = {
    "original": {"batch_size": 16, "lr": 0.005, "n_iters": 150_000, "halve_every": 2500, "fake_vector_MSE": 1.0},
    "streets": {**STREETS, "lr": 0.01, "lr_floor": 0.5, "fake_vector_MSE": 10.0},
}
COMMON = {"batch_size": 6, "lr": 0.002, "n_iters": 150_000, "halve_every": 5000, "loss_type": "l1"}
TRAIN = {
    "rect": {**COMMON, **RECT},
    "rect_no_decision": {**COMMON, **RECT, "real_decision": 0.0, "fake_decision": 0.0},
    "square": {**COMMON, **SQUARE},
    "streets": {**STREETS, **ZERO, "lr": 0.008, "loss_type": "l1", "real_lpips": 1.0, "real_MSE": 8.0,
                "fake_vector_MSE": 0.3},
}
DEFAULTS = {"schedule": "cosine", "lr_floor": 0.0, "halve_every": 5000, "channels": [], "loss_type": "l1",
            "mlp_idx": "-1"}
NONE = "none"  # --start_weights


def of_preset(help, **more):
    """Return a flag whose default is the preset's value."""
    return option(None, f"{help} (default: the preset's)", **more)


def weight(of):
    """Return the flag of a term's weight."""
    return of_preset(f"weight of {of}; 0: it is not computed", low=0)


@dataclass(kw_only=True)
class EncoderOptions(CommonOptions):
    """Flags that both stages have."""

    blobgan_weights: str = option("checkpoints/blobgan_256x512.ckpt", "the BlobGAN; its averaged networks are used",
                                  kind="how")
    live_weights: bool = option(False, "use the BlobGAN's live networks instead of the averaged ones")
    batch_size: Optional[int] = of_preset("pictures per step of each kind, over all processes", short="-bs", low=1)
    n_iters: Optional[int] = of_preset("total number of steps; a larger one extends the run", kind="total", low=1,
                                       type=flags.whole_number)
    lr: Optional[float] = of_preset("Adam's learning rate", above=0)
    schedule: Optional[str] = of_preset(
        "cosine or linear: down to --lr_floor at the last step; original: halved every --halve_every steps; constant",
        choices=["cosine", "original", "linear", "constant"])
    lr_floor: Optional[float] = of_preset("end of cosine and linear, as a fraction of --lr", low=0, below=1)
    halve_every: Optional[int] = of_preset("steps between halvings of --schedule original", low=1)
    mlp_idx: Optional[str] = of_preset("module of the layout network whose input is predicted; raw: all numbers of the "
                                       "blobs", metavar="N")
    init: str = option("mean", "a new encoder's first outputs: near the mean latent, or random, as in the original",
                       choices=["mean", "random"])
    arch: str = option("stylegan", "network: the discriminator's body, or ResNet-18's blocks",
                       choices=["stylegan", "resnet"])
    channels: List[int] = option([], "channels by height, from the pictures' to 4 (stylegan), or by stage (resnet) "
                                 "(default: the preset's, else the published ones)", nargs="+", type=int, low=1)
    jitter: bool = option(False, "jitter the blobs as in the GAN's training, as the original did by a misspelt switch")
    noise: str = option("fixed", "noise maps: the fixed ones of all tools, or fresh ones for each picture, as the "
                        "original had", choices=["fixed", "fresh"])
    truncation_min: float = option(0.0, "generated pictures are truncated by at least this (0: none, 1: the mean)",
                                   low=0, high=1)
    truncation_max: float = option(0.0, "and at most this; drawn uniformly for each picture", low=0, high=1)
    lpips_weights: Optional[str] = option(None, "VGG-16's weights for LPIPS: torchvision's vgg16-397923af.pth",
                                          kind="how")
    perceptual: Optional[str] = option(None, "instead of LPIPS: unit-normalised maps of this classifier (a file of "
                                       "train_decision_model)", kind="how")
    val_images: int = option(256, "held-out pictures of the loss that chooses best.pt", low=1,
                             type=flags.whole_number)
    quality_images: int = option(flags.ALL, "held-out pictures whose quality is measured at the end, or all",
                                 type=flags.number_or_all, low=1, metavar="N")
    accumulate: int = flags.accumulate()
    precision: str = flags.precision()
    seed: int = flags.seed("weights, images and noise")
    device: str = flags.device()
    num_workers: int = flags.num_workers(1, "threads that prefetch batches")
    test_batch_size: int = flags.batch_size(16, help="pictures per forward pass of held-out losses and quality")
    log_every: int = option(50, "steps between lines of log.jsonl", kind="how", low=1)
    log_imgs_every: int = option(500, "steps between pictures, 0 for none", kind="how", low=0)
    save_every: int = option(1000, "steps between last.pt, the state, and the held-out loss that chooses best.pt",
                             low=1)
    tensorboard: bool = flags.tensorboard()
    wandb: bool = flags.wandb()


@dataclass(kw_only=True)
class PretrainOptions(EncoderOptions):
    """Flags of `train_encoder pretrain`."""

    output_dir: str = option("encoder_pretraining", "output directory", kind="how")
    preset: str = option("original", "learning rate, length and batch", choices=list(PRETRAIN))
    fake_vector_MSE: Optional[float] = of_preset("weight of the mean square of the latent", above=0)
    decision_weights: Optional[str] = option(None, "decision model, for the quality at the end", kind="how")
    start_weights: str = option(NONE, "an encoder to start from, or none", kind="how")


@dataclass(kw_only=True)
class TrainOptions(EncoderOptions):
    """Flags of `train_encoder train`."""

    dataset_path: str = option("bdd100k/images/100k", "real pictures: a folder (with train and val, or flat: a tenth "
                               "is held out), zip, npz, or a data set's name", kind="how")
    val_path: Optional[str] = option(None, "held-out pictures (default: the other split of --dataset_path)", kind="how")
    data_dir: Optional[str] = flags.data_dir()
    memory_gb: float = flags.memory_gb()
    output_dir: str = option("encoder_finetuning_l1_lpips", "output directory", kind="how")
    preset: str = option("rect", "weights of the terms, learning rate, length and batch", choices=list(TRAIN))
    decision_weights: Optional[str] = option("checkpoints/decision_densenet.tar", "decision model, for its terms and "
                                             "the quality at the end; none: for neither", kind="how")
    start_weights: str = option("encoder_pretraining/best.pt", "an encoder to start from, or none", kind="how")
    loss_type: Optional[str] = of_preset("difference of pixels in the terms called MSE", choices=["l1", "l2"])
    real_lpips: Optional[float] = weight("the perceptual distance of real pictures")
    real_MSE: Optional[float] = weight("the difference of pixels of real pictures")
    real_decision: Optional[float] = weight("the mean square of the decision model's features of real pictures")
    fake_lpips: Optional[float] = weight("the perceptual distance of generated pictures")
    fake_MSE: Optional[float] = weight("the difference of pixels of generated pictures")
    fake_decision: Optional[float] = weight("the decision model's features of generated pictures")
    fake_latents_MSE: Optional[float] = weight("the mean square of generated pictures' six blob tensors")
    fake_vector_MSE: Optional[float] = weight("the mean square of generated pictures' latent, as in pretraining")


def settled(options):
    """Return the options with their preset's values where no flag is given, checked against each other."""
    values = {**DEFAULTS, **(TRAIN if isinstance(options, TrainOptions) else PRETRAIN)[options.preset]}
    names = {item.name for item in fields(options)}
    filled = {name: value for name, value in values.items() if name in names and getattr(options, name) in (None, [])}
    if options.arch == "resnet":
        filled.pop("channels", None)  # of the other network
    settled = replace(options, **filled)
    check_effects(options, _acts(settled))
    _check(settled)
    return settled


def _acts(options):
    """Return when options act, see common.effects; options: settled."""
    weights = weights_of(options)
    generated = any(weights[name] for name in TERMS if name.startswith("fake")), "terms of generated pictures"
    return {"lr_floor": (options.schedule in ("cosine", "linear"), "--schedule cosine or linear"),
            "halve_every": (options.schedule == "original", "--schedule original"),
            "truncation_min": generated, "truncation_max": generated} | (
        {"loss_type": (options.real_MSE or options.fake_MSE, "--real_MSE or --fake_MSE")}
        if isinstance(options, TrainOptions) else {})


def _check(options):
    """Raise InputError for flags that contradict each other."""
    if options.truncation_min > options.truncation_max:
        raise InputError(f"is above --truncation_max {options.truncation_max:g}",
                         where=f"--truncation_min {options.truncation_min:g}", do="Correct the flags")
    least = options.accumulate * parallel.world_size()
    if options.batch_size < least:
        raise InputError(f"is less than --accumulate times the number of processes, {least:,}",
                         where=f"--batch_size {options.batch_size}", do="Use a larger batch, or a smaller --accumulate")
    if options.lpips_weights and options.perceptual:
        raise InputError("cannot be used with --lpips_weights: there is one perceptual distance",
                         where=f"--perceptual {options.perceptual}", do="Choose one")
    mlp_index(options)
    if not any(weights_of(options).values()):
        raise InputError("all terms have weight 0: nothing is trained", where="weights", do="Give a term its weight")


def weights_of(options):
    """Return {term: weight} of settled options."""
    return {term: getattr(options, term, 0.0) for term in TERMS}


def mlp_index(options):
    """Return --mlp_idx as the layout network takes it: a number or "raw"."""
    if options.mlp_idx == "raw":
        return "raw"
    try:
        return int(options.mlp_idx)
    except ValueError as error:
        raise InputError("expected a whole number or raw", where=Parameter("mlp_idx", options.mlp_idx),
                         do="Pass -1 for the latent of the original") from error
