"""From flags to a trained network: check everything, then hand over to the loop."""

from dataclasses import replace
from pathlib import Path

from common import console, parallel
from common.effects import check_effects
from common.errors import InputError
from common.numerals import counted
from tools.train_edm import findings

PROG = "train_edm"
OWNS = ("checkpoint.pth", "network.safetensors", "log.jsonl", "samples.png", "samples", "snapshots",
        "tensorboard", "wandb")


def train(request):
    """Train; results: steps, training_loss, ema_loss, parameters, images, classes, damaged, images_per_second,
    network."""
    from common.device import pick_device, set_precision
    from common.files import file_hash
    from common.job import Job
    from common.networks.adm_weights import find_adm
    from tools.train_edm.presets import filled
    from tools.train_edm.sources import open_images, source_inputs

    options = filled(request)
    check_flags(options)
    options, source = open_images(options)
    source.check(options.resolution)
    options, config = make_config(options, source)
    for note in notes(options, source, config):
        console.say(note)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("tf32" if options.precision == "tf32" else "fp32")
    derived = {"source": source.identity(), "network": config.to_kwargs(), **source.map_identity()}
    inputs = source_inputs(options)
    if options.restore:
        derived["restored weights"] = file_hash(find_adm(options.restore))
        inputs = None if inputs is None else [*inputs, options.restore]
    if options.lr_decay == "cosine":
        derived["steps of the cosine"] = options.steps  # the learning rate depends on the last step
    folder = Path(options.output_dir)
    job = Job(folder, PROG, options, request=request, derived=derived, inputs=inputs, owns=OWNS,
              summary=findings.train)
    run = None
    if job.answer() is None:
        from tools.train_edm.loop import EdmTraining

        run = EdmTraining(options, config, source, device, job.overwrite)
    outputs = [folder / name for name in ("network.safetensors", "checkpoint.pth", "log.jsonl")]
    return job.run(lambda: (run.loop(), outputs), lambda: rehearse(options, config, source, run), device)


def rehearse(options, config, source, run):
    """Return (the line for --dry_run, its results)."""
    left = options.steps - (run.done if run else options.steps)
    images = int((source.classes >= 0).sum())
    steps = counted(left, "step")
    return (f"would train {steps} at batch size {options.batch_size} on {images:,} images of {config.label_dim} "
            f"classes into {options.output_dir}", {"steps": left, "images": images, "classes": config.label_dim})


def check_flags(options):
    """Raise InputError for flags that contradict each other."""
    check_effects(options, {"lr_floor": (options.lr_decay == "cosine", "--lr_decay cosine")})
    rules = [("sample_sigma_min", options.sample_steps == 1 or options.sample_sigma_min < options.sample_sigma_max,
              "must be below --sample_sigma_max"),
             ("label_dropout", options.conditional or options.label_dropout == 0, "needs a class-conditional network"),
             ("label_dim", options.conditional or options.label_dim is None, "needs a class-conditional network"),
             ("class_balanced", options.conditional or not options.class_balanced, "needs a class-conditional network"),
             ("batch_size", options.batch_size >= options.accumulate * parallel.world_size(),
              "is smaller than the number of processes times --accumulate")]
    for name, good, what in rules:
        if not good:
            raise InputError(what, where=f"--{name} {getattr(options, name)}", do="Correct the value")


def make_config(options, source):
    """Return (options with the number of classes, AdmConfig); InputError where the flags make no network, or these
    images do not fit it."""
    from common.networks.adm_config import AdmConfig

    if not (source.classes >= 0).any():
        raise InputError("no images to train on", where="--data", do="Check the images and --class_map")
    most = int(source.classes.max())
    label_dim = 0
    if options.conditional:
        label_dim = options.label_dim or max(map(int, source.class_index)) + 1
        options = replace(options, label_dim=label_dim)
        if most >= label_dim:
            raise InputError(f"class {most} is out of range for a network of {label_dim} classes",
                             where=f"--label_dim {label_dim}",
                             do="Omit the flag, or check --class_map")
    values = {name: getattr(options, name)
              for name in ("model_channels", "channel_mult", "channel_mult_emb", "num_blocks", "dropout")}
    values |= {"img_resolution": options.resolution, "label_dim": label_dim, "label_dropout": options.label_dropout,
               "attn_resolutions": [size for size in options.attn_resolutions if size]}
    try:
        return options, AdmConfig.from_kwargs(values, None)
    except InputError as error:
        raise InputError(error.what,
                         do="Correct --resolution, --model_channels, --channel_mult or --num_blocks") from error


def notes(options, source, config):
    """Return notes on the images for the user."""
    import numpy as np

    lines = list(source.notes())
    occurring = len(np.unique(source.classes[source.classes >= 0]))
    if 10 * occurring < config.label_dim:
        lines.append(f"note: only {occurring} of {config.label_dim} classes occur; own labels need --class_map none")
    return lines
