"""From flags to a trained network: check everything, then hand over to the loop."""

from pathlib import Path

from common import console, parallel
from common.cli import Outcome
from common.errors import InputError


def train(options):
    """Train; results: steps, training_loss, ema_loss, parameters, images, classes, damaged, images_per_second,
    network."""
    from common.device import describe, pick_device, set_precision
    from common.files import check_writable, file_hash
    from common.job import RunRecord
    from common.networks.adm_weights import find_adm
    from tools.train_edm.presets import fill
    from tools.train_edm.sources import open_images

    fill(options)
    check_flags(options)
    folder = Path(options.output_dir)
    source = open_images(options)
    source.check(options.resolution)
    config = make_config(options, source)
    for note in notes(options, source, config):
        console.say(note)
    check_writable(folder)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("tf32" if options.precision == "tf32" else "fp32")
    derived = {"source": source.identity(), "network": config.to_kwargs()}
    if options.restore:
        derived["restored weights"] = file_hash(find_adm(options.restore))
    if options.lr_decay == "cosine":
        derived["steps of the cosine"] = options.steps  # the rate depends on where the run ends
    record = RunRecord(folder, "train_edm", options, derived)
    record.extra = {"machine": describe(device)}
    run = None
    if record.answer() is None:
        from tools.train_edm.loop import TrainingRun

        run = TrainingRun(options, config, source, device, record.anew)
    if options.dry_run:
        return rehearse(options, config, source, run)
    with parallel.process_group(device.type):
        clear = ("checkpoint.pth", "network.safetensors", "log.jsonl", "samples.png", "samples", "snapshots",
                 "tensorboard", "wandb")
        clear = [folder / name for name in clear]
        earlier = parallel.gather_objects(record.begin(clear) if parallel.is_main() else None)[0]
        if earlier is not None:
            console.say(f"{folder}: already trained for {earlier['steps']:,} steps")
            return Outcome(earlier, record=record)
        results = run.loop()
    outputs = [folder / name for name in ("network.safetensors", "checkpoint.pth", "log.jsonl")]
    return Outcome(results, [str(path) for path in outputs], record)


def rehearse(options, config, source, run):
    """Say what would be done."""
    left = options.steps - (run.done if run else options.steps)
    images = int((source.classes >= 0).sum())
    console.say(f"would train {left:,} steps of {options.batch_size} on {images:,} images of {config.label_dim} "
                f"classes "
                f"and write {options.output_dir}")
    return Outcome({"steps": left, "images": images, "classes": config.label_dim})


def check_flags(options):
    """Raise InputError for values that make no sense whatever the data."""
    above = ("resolution", "model_channels", "channel_mult_emb", "num_blocks", "steps", "batch_size", "accumulate",
             "log_every",
             "save_every", "sample_steps")
    from_zero = ("warmup", "grad_clip", "ema_halflife_kimg", "ema_rampup_ratio", "adam_eps", "num_workers",
                 "snapshot_every",
                 "sample_every", "samples_per_class", "memory_gb", "seed")
    rules = [(name, getattr(options, name) >= 1, "must be at least 1") for name in above]
    rules += [(name, 0 <= getattr(options, name) < float("inf"), "must be at least 0") for name in from_zero]
    rules += [(name, 0 < getattr(options, name) < float("inf"), "must be above 0")
              for name in ("lr", "p_std", "sample_sigma_min", "sample_sigma_max")]
    rules += [(name, 0 <= getattr(options, name) < 1, "must be at least 0 and below 1")
              for name in ("dropout", "label_dropout", "beta2")]
    rules += [("lr_floor", 0 <= options.lr_floor <= 1, "must be from 0 to 1"),
              ("p_mean", abs(options.p_mean) < 20, "must be between -20 and 20"),
              ("sample_sigma_min", options.sample_steps == 1 or options.sample_sigma_min < options.sample_sigma_max,
               "must be below --sample_sigma_max"),
              ("label_dropout", options.conditional or options.label_dropout == 0, "needs a network with classes"),
              ("label_dim", options.label_dim is None or options.label_dim >= 1, "must be at least 1"),
              ("label_dim", options.conditional or options.label_dim is None, "needs a network with classes"),
              ("class_balanced", options.conditional or not options.class_balanced, "needs a network with classes"),
              ("batch_size", options.batch_size >= options.accumulate * parallel.world_size(),
               "cannot be split into so many processes and parts")]
    for name, good, what in rules:
        if not good:
            raise InputError(what, where=f"--{name} {getattr(options, name)}", do="Correct the value")


def make_config(options, source):
    """Return the AdmConfig of the flags for these images; InputError when they make no network, or have other
    classes."""
    from common.networks.adm_config import AdmConfig

    if not (source.classes >= 0).any():
        raise InputError("no image is left to train on", where="--data", do="Check the source, and --class_map")
    most = int(source.classes.max())
    label_dim = 0
    if options.conditional:
        label_dim = options.label_dim = options.label_dim or max(map(int, source.class_index)) + 1
        if most >= label_dim:
            raise InputError(f"class {most} is out of range for a network of {label_dim} classes",
                             where=f"--label_dim {label_dim}",
                             do="Leave the flag out, or check --class_map")
    values = {name: getattr(options, name)
              for name in ("model_channels", "channel_mult", "channel_mult_emb", "num_blocks", "dropout")}
    values |= {"img_resolution": options.resolution, "label_dim": label_dim, "label_dropout": options.label_dropout,
               "attn_resolutions": [size for size in options.attn_resolutions if size]}
    try:
        return AdmConfig.from_kwargs(values, None)
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
