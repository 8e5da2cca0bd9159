"""What the flags say, checked before anything is read: those not served, and values that do not go together."""

import math
from dataclasses import fields

from common import parallel
from common.datasets.degradations import check_factor
from common.effects import check_effects
from common.errors import InputError, Parameter
from common.flags import parse_factors
from common.numerals import counted
from common.paths import is_below

REFUSED = {  # why the flag's default is its only value
    "start_from_latent_avg": "values are always relative to the generator's mean, which outputs.npz counts on",
    "use_style_vector_average": "the mean is always that of the style vectors",
    "input_nc": "images have three channels; label and mask inputs are not served",
    "label_nc": "label channels are not served",
    "pretrained_psp_resolution": "give the size of the images as --encoder_size",
    "experiment_type": "inpainting is not served: how the original makes its masks is not published",
    "mask_threshold_low": "inpainting is not served: how the original makes its masks is not published",
    "mask_threshold_high": "inpainting is not served: how the original makes its masks is not published",
    "train_decoder": "the generator stays as it is: latents would no longer be its pictures'",
    "learn_in_w": "encoders into W have no intervals of style coordinates",
    "normalize_sv": "scaled style vectors are not served: outputs.npz holds them as the generator has them",
    "moco_lambda": "the MoCo loss is not served",
    "wandb_run_name": "the run has the name of --exp_dir",
}
FACTORS = (1, 2, 4, 8, 16, 32)  # of the original
CROP = "is for images of 256 px"
CROPPED = ("l2_lambda_crop", "lpips_lambda_crop", "id_lambda")
NO = ("false", "0", "no", "off")


def check_flags(options):
    """Raise InputError for a flag that is not served, and for flags that contradict each other."""
    defaults = {item.name: item.default for item in fields(options)}
    for name, reason in REFUSED.items():
        value = getattr(options, name)
        if value != defaults[name] and not (name == "train_decoder" and value.lower() in NO):
            where = f"--no_{name}" if value is False else f"--{name}" if value is True else f"--{name} {value}"
            raise InputError(reason, where=where, do="Leave out the flag")
    image_losses = [name for name in ("l2_lambda", "lpips_lambda", "id_lambda", "l2_lambda_crop", "lpips_lambda_crop")
                    if getattr(options, name)]
    check_effects(options, {"lpips_weights": (options.lpips_lambda or options.lpips_lambda_crop, "--lpips_lambda"),
                            "id_weights": (options.id_lambda, "--id_lambda"),
                            "generated_share": (options.real_train_data_path, "--real_train_data_path"),
                            "lr_floor": (options.lr_decay == "cosine", "--lr_decay cosine")})
    parts = options.accumulate * max(parallel.world_size(), 2)
    rules = [
        ("mse", options.mse or image_losses, "without it nothing trains the point; give an image loss its weight"),
        ("lpips_weights", options.lpips_weights or not (options.lpips_lambda or options.lpips_lambda_crop),
         "needed by the LPIPS loss: AlexNet's or VGG-16's file"),
        ("id_weights", options.id_weights or not options.id_lambda, "needed by the identity loss: model_ir_se50.pth"),
        ("real_train_data_path", options.real_train_data_path is None or image_losses or options.w_norm_lambda,
         "images without latents train nothing but image losses; give one its weight"),
        ("use_quantile_loss_mask", not (options.use_quantile_loss_mask and image_losses),
         "images need every coordinate; leave it out, or the image losses"),
        ("no_quantile_image_loss", not options.no_quantile_image_loss or image_losses, "there is no image loss"),
        ("checkpoint_path", not (options.checkpoint_path and options.pretrained_model_path),
         "cannot be used with --pretrained_model_path: choose one"),
        ("batch_size", options.batch_size >= parts,
         f"must be at least {parts}: twice --accumulate, and --accumulate times the number of processes"),
    ]
    for name, good, what in rules:
        if not good:
            raise InputError(what, where=f"--{name}", do="Correct the flags")


def check_place(options):
    """Raise InputError where the pictures that a training draws would become images that it reads."""
    for name in ("generated_train_data_path", "real_train_data_path", "val_data_path"):
        folder = getattr(options, name)
        if folder is not None and is_below(options.exp_dir, folder):
            raise InputError(f"lies in --{name}, whose images its pictures would join",
                             where=f"--exp_dir {options.exp_dir}", do="Choose another folder")


def check_size(options, size):
    """Raise InputError for losses that need images of another size than the encoder's."""
    for name in CROPPED:
        if getattr(options, name) and size != 256:
            raise InputError(CROP, where=f"--{name}", do="Leave it out, or use an encoder of 256 px")


def degradations(options, size):
    """Return (factors, their probabilities) that the flags name for images of this side."""
    if options.resize_factors:
        factors = parse_factors(options.resize_factors)
        for factor in factors:
            check_factor(factor, size, "resize_factors")
    else:
        factors = [factor for factor in FACTORS if _fits(factor, size)]
    words = [word for item in options.resize_probabilities for word in str(item).split(",") if word]
    if not words:
        return factors, [1 / len(factors)] * len(factors)
    where = Parameter("resize_probabilities", " ".join(words))
    try:
        shares = [float(word) for word in words]
    except ValueError as error:
        raise InputError("expected numbers", where=where, do="Pass for example .5,.25,.25") from error
    if len(shares) != len(factors):
        raise InputError(f"{len(shares)} probabilities for {counted(len(factors), 'factor')}", where=where,
                         do="Pass one for each of --resize_factors")
    if not all(math.isfinite(share) and share >= 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise InputError("probabilities must be 0 or more and sum to 1", where=where, do="Correct the values")
    return factors, [share / sum(shares) for share in shares]


def _fits(factor, size):
    try:
        check_factor(factor, size)
    except InputError:
        return False
    return True


def model_name(options):
    """Return the name of the trained encoder, as the published one is called."""
    return f"superres_alpha_{options.alpha:g}.pt"
