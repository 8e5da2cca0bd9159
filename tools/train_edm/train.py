"""From flags to a trained network: check everything, then hand over to the loop."""

from dataclasses import replace
from pathlib import Path

from common import console, parallel
from common.errors import InputError

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
    derived = {"source": source.identity(), "network": config.to_kwargs()}
    inputs = source_inputs(options)
    if options.restore:
        derived["restored weights"] = file_hash(find_adm(options.restore))
        inputs = None if inputs is None else [*inputs, options.restore]
    if options.lr_decay == "cosine":
        derived["steps of the cosine"] = options.steps  # the rate depends on where the run ends
    folder = Path(options.output_dir)
    job = Job(folder, PROG, options, request=request, derived=derived, inputs=inputs, owns=OWNS)
    run = None
    if job.answer() is None:
        from tools.train_edm.loop import EdmTraining

        run = EdmTraining(options, config, source, device, job.overwrite)
    outputs = [folder / name for name in ("network.safetensors", "checkpoint.pth", "log.jsonl")]
    return job.run(lambda: (run.loop(), outputs), lambda: rehearse(options, config, source, run), device)


def rehearse(options, config, source, run):
    """Return (what would be done in a line, its results)."""
    left = options.steps - (run.done if run else options.steps)
    images = int((source.classes >= 0).sum())
    return (f"would train {left:,} steps of {options.batch_size} on {images:,} images of {config.label_dim} classes "
            f"and write {options.output_dir}", {"steps": left, "images": images, "classes": config.label_dim})


def check_flags(options):
    """Raise InputError for flags that contradict each other."""
    rules = [("sample_sigma_min", options.sample_steps == 1 or options.sample_sigma_min < options.sample_sigma_max,
              "must be below --sample_sigma_max"),
             ("label_dropout", options.conditional or options.label_dropout == 0, "needs a network with classes"),
             ("label_dim", options.conditional or options.label_dim is None, "needs a network with classes"),
             ("class_balanced", options.conditional or not options.class_balanced, "needs a network with classes"),
             ("batch_size", options.batch_size >= options.accumulate * parallel.world_size(),
              "cannot be split into so many processes and parts")]
    for name, good, what in rules:
        if not good:
            raise InputError(what, where=f"--{name} {getattr(options, name)}", do="Correct the value")


def make_config(options, source):
    """Return (options with the number of classes, AdmConfig) for these images; InputError when they make no network, or
    have other classes."""
    from common.networks.adm_config import AdmConfig

    if not (source.classes >= 0).any():
        raise InputError("no image is left to train on", where="--data", do="Check the source, and --class_map")
    most = int(source.classes.max())
    label_dim = 0
    if options.conditional:
        label_dim = options.label_dim or max(map(int, source.class_index)) + 1
        options = replace(options, label_dim=label_dim)
        if most >= label_dim:
            raise InputError(f"class {most} is out of range for a network of {label_dim} classes",
                             where=f"--label_dim {label_dim}",
                             do="Leave the flag out, or check --class_map")
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
    """Return what the user should know about the images before the training."""
    import numpy as np

    lines = list(source.notes())
    occurring = len(np.unique(source.classes[source.classes >= 0]))
    if 10 * occurring < config.label_dim:
        lines.append(f"note: {occurring} of {config.label_dim} classes occur; labels of your own want --class_map none")
    return lines
