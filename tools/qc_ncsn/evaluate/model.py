"""What the evaluations of a model share: the images, their draws, and the flags that choose them."""

from dataclasses import dataclass
from typing import Optional

from common.cli import Outcome, option
from common.errors import InputError
from tools.qc_ncsn.model import ModelOptions


@dataclass(kw_only=True)
class EvalOptions(ModelOptions):
    """Flags of `qc_ncsn eval nll` and `asym`."""

    calculate: bool = option(False, "compute; this is what happens without --read", kind="how")
    read: bool = option(False, "show the stored results", kind="how")
    bs: Optional[int] = option(None, "images that go through the network together (the preset's when not given)",
                               short="--batch_size", kind="how")
    total_repeat: Optional[int] = option(None, "repeats with new draws (the preset's when not given)", kind="total")
    weights: str = option("raw", "which weights of the checkpoint; raw as in the paper's numbers",
                          choices=["raw", "ema"])
    dataset: Optional[str] = option(None, "another data set: a name, an image folder, a zip or an npz")
    data_dir: Optional[str] = option(None, "where the real data sets lie", kind="how")
    split: str = option("test", "which part of the data set", choices=["test", "train"])
    num_images: Optional[int] = option(None, "the first so many images (all when not given)", kind="total")


# Flags that are entries of the configuration's `eval` section, which they overrule.
EVAL_FLAGS = {"bs": "batch_size", "total_repeat": "total_repeat", "nl": "noise_levels"}


def check_eval_flags(options):
    """Raise InputError for flags out of range."""
    for name in (*EVAL_FLAGS, "num_images"):
        value = getattr(options, name, None)
        if value is not None and value < 1:
            raise InputError("must be at least 1", where=f"--{name} {value}", do="Correct the value")


def open_eval_images(options, config):
    """Return (the data set, number of images to use) of the flags; fills `num_images`."""
    from tools.qc_ncsn.data import open_images

    if options.dataset:
        config = {**config, "data": {**config["data"], "dataset": options.dataset}}
    images = open_images(config, options, options.split)
    if options.num_images is not None and options.num_images > len(images):
        raise InputError(f"the data set has {len(images):,} images", where=f"--num_images {options.num_images}",
                         do="Ask for fewer")
    options.num_images = options.num_images or len(images)
    return images, options.num_images


def evaluate(options, work, folder, measure, show, outputs):
    """Measure a model into a folder of its work folder, going on from what is there; returns the Outcome.

    measure(options, model, images, folder, device) -> results.  show(results) prints them.  outputs: names in `folder`
    of the files that a finished job has, made from the options once they are complete.
    """
    from common import console, parallel
    from common.device import describe, pick_device, set_precision
    from common.files import check_writable, fingerprint
    from common.job import RunRecord
    from tools.qc_ncsn.model import load_model

    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    model = load_model(options, work, device)
    for flag, entry in EVAL_FLAGS.items():
        if hasattr(options, flag) and getattr(options, flag) is None:
            setattr(options, flag, model.config["eval"][entry])
    images, count = open_eval_images(options, model.config)
    check_writable(folder)
    source = fingerprint(model.path)
    derived = {"checkpoint sha256": source["sha256"], "data": images.fingerprint()}
    record = RunRecord(folder, "qc_ncsn", options, derived, [source])
    record.compare()
    record.extra = {"machine": describe(device)}
    if options.dry_run:
        console.say(f"would measure {count:,} images {options.total_repeat} times into {folder}")
        return Outcome({"num_images": count})
    with parallel.process_group(device.type):
        earlier = parallel.gather_objects(record.begin([folder]) if parallel.is_main() else None)[0]
        results = earlier if earlier is not None else measure(options, model, images, folder, device)
    show(results)
    return Outcome(results, [str(folder / name) for name in outputs(options)], record)
