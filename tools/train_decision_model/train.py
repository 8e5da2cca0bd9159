"""From flags to a trained decision model: check everything, then hand over to the loop."""

from dataclasses import replace
from math import ceil
from pathlib import Path

from common import console, parallel
from common.effects import check_effects
from common.errors import InputError
from common.numerals import counted
from tools.train_decision_model import findings

PROG = "train_decision_model"
OWNS = ("state.pth", "checkpoint.tar", "log.jsonl", "held_out.npz", "attributes.csv", "inputs.png", "reliability.png",
        "tensorboard", "wandb")
SMALLEST = {"densenet121": 32}  # px a side, below which nothing is left after the poolings


def train(request):
    """Train; results: steps, best_step, training_loss, held_out_loss, parameters, images, held_out, missing, damaged,
    images_per_second, names, the lists of measure.MEASURES, their means mean_NAME and the least accuracy; with
    --calibrate, temperature, ece_before and ece_after; checkpoint (path)."""
    from common.device import pick_device, set_precision
    from common.files import file_hash
    from common.job import Job
    from common.networks.decision import require_imagenet
    from tools.train_decision_model.labels import open_source
    from tools.train_decision_model.presets import RANDOM, filled
    from tools.train_decision_model.sources import find_rule

    options = filled(request)
    check_flags(options)
    source = open_source(options)
    rule = find_rule(options, source.train)
    options = settled(options, source, rule)
    images = [part.open(rule, options.memory_gb) for part in (source.train, source.val)]
    for note in source.notes:
        console.say(note)
    for part in images:
        part.note_changes()
    device = pick_device(options.device, parallel.local_rank())
    set_precision("tf32" if options.precision == "tf32" else "fp32")
    derived, inputs = source.identity(), source.inputs
    derived |= {f"{name} images": part.fingerprint() for name, part in zip(("training", "held-out"), images)}
    if options.imagenet_weights not in (None, RANDOM):
        require_imagenet(options.imagenet_weights, options.arch)
        derived["contents of imagenet_weights"] = file_hash(options.imagenet_weights)
        inputs = None if inputs is None else [*inputs, options.imagenet_weights]
    if options.lr_schedule == "onecycle":
        derived["steps of the cycle"] = options.steps  # the learning rate depends on the last step
    folder = Path(options.output_dir)
    job = Job(folder, PROG, options, request=request, derived=derived, inputs=inputs, owns=OWNS,
              summary=findings.train)
    run = None
    if job.answer() is None:
        from tools.train_decision_model.loop import DecisionTraining

        run = DecisionTraining(options, source, images, rule, device, job.overwrite)
    outputs = [folder / name for name in ("checkpoint.tar", "attributes.csv", "held_out.npz", "inputs.png",
                                          "reliability.png", "state.pth", "log.jsonl")]
    return job.run(lambda: (run.loop(), outputs), lambda: rehearse(options, source, run), device)


def settled(options, source, rule):
    """Return options with size, steps and intervals; InputError for a network that takes no such pictures."""
    least, size = SMALLEST.get(options.arch, 1), rule.size
    if min(size) < least:
        raise InputError(f"the network needs pictures of at least {least} px a side, not {size[0]} x {size[1]}",
                         where=f"--arch {options.arch}", do=f"Pass --arch small, or a --size from {least}")
    epoch = ceil(len(source.train) / options.batch_size)
    steps = options.steps or ceil(options.epochs * len(source.train) / options.batch_size)
    return replace(options, size=f"{size[0]}x{size[1]}", steps=steps, val_interval=options.val_interval or epoch)


def check_flags(options):
    """Raise InputError for flags that contradict each other."""
    from tools.train_decision_model.presets import RANDOM

    weights = options.imagenet_weights
    check_effects(options, {"width": (options.arch == "small", "--arch small")})
    parts = options.accumulate * max(parallel.world_size(), 2)
    rules = [
        ("reasons", not options.reasons or options.arch == "densenet121", "needs --arch densenet121"),
        ("imagenet_weights", weights in (None, RANDOM) or options.arch != "small", "--arch small has none"),
        ("batch_size", options.batch_size >= parts,
         f"must be at least {parts}: twice --accumulate, and --accumulate times the number of processes"),
    ]
    for name, good, what in rules:
        if not good:
            raise InputError(what, where=f"--{name}", do="Correct the flags")


def rehearse(options, source, run):
    """Return (the line for --dry_run, its results)."""
    left = options.steps - (run.done if run else options.steps)
    console.say(f"{options.arch} at {options.size}: {', '.join(source.names[:8])}{', ...' * (len(source.names) > 8)}")
    steps = counted(left, "step")
    return (f"would train {steps} at batch size {options.batch_size} on {len(source.train):,} images into "
            f"{options.output_dir}, {len(source.val):,} held out",
            {"steps": left, "images": len(source.train), "held_out": len(source.val), "missing": source.missing})
