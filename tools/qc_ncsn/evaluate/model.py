"""What the evaluations of a model share: flags, images, and the recorded job."""

from dataclasses import dataclass, replace
from typing import Optional

from common import flags
from common.errors import InputError
from common.numerals import counted
from common.options import option
from tools.qc_ncsn import findings
from tools.qc_ncsn.data import note_changes, open_images
from tools.qc_ncsn.model import ModelOptions, announce, load_model, made_by, model_inputs
from tools.qc_ncsn.unreadable import stored_names
from tools.qc_ncsn.work_dir import WorkDir


@dataclass(kw_only=True)
class EvalOptions(ModelOptions):
    """Flags of `qc_ncsn eval nll` and `asym`."""

    calculate: bool = option(False, "compute (the default without --read)", kind="how")
    read: bool = option(False, "show the stored results", kind="how")
    bs: Optional[int] = flags.batch_size(None, "--batch_size", "images per forward pass (default: the preset's)")
    total_repeat: Optional[int] = option(None, "repeats with new draws (default: the preset's)", kind="total", low=1)
    weights: str = option("raw", "weights of the checkpoint to use; raw as in the paper",
                          choices=["raw", "ema"])
    dataset: Optional[str] = option(None, "another data set: a name, an image folder, a zip or an npz")
    data_dir: Optional[str] = flags.data_dir()
    split: str = option("test", "split of the data set; validation is test",
                        choices=["test", "train", "validation", "val"])
    num_images: Optional[int] = option(None, "use only the first N images (default: all)", kind="total", low=1)


# Flags that override entries of the configuration's section `eval`.
EVAL_FLAGS = {"bs": "batch_size", "total_repeat": "total_repeat", "nl": "noise_levels"}
SETTINGS = ("rtol", "atol", "nl", "slices", "estimator", "exact")  # that stored files say of an evaluation


def settle(options, config, absent=None):
    """Return (the data set, options with the configuration's values where no flag was given)."""
    from common.datasets import canonical_name, canonical_split

    settled = {flag: config["eval"][entry] for flag, entry in EVAL_FLAGS.items()
               if hasattr(options, flag) and getattr(options, flag) is None}
    options = replace(options, split=canonical_split(options.split),
                      dataset=options.dataset and canonical_name(options.dataset))
    if options.dataset == config["data"]["dataset"]:
        options = replace(options, dataset=None)
    if options.dataset:
        config = {**config, "data": {**config["data"], "dataset": options.dataset}}
    images = open_images(config, options.data_dir, options.split, absent)
    if options.num_images is not None and options.num_images > len(images):
        raise InputError(f"the data set has only {len(images):,} images", where=f"--num_images {options.num_images}",
                         do="Ask for fewer")
    return images, replace(options, **settled, num_images=options.num_images or len(images))


def evaluate(request, command, folder, measure, show, owns):
    """Measure a model, with results in a subfolder of its work folder; resumes a killed run; returns the Outcome.

    measure(options, model, images, folder, device, made_by) -> (results, files); made_by: text that each stored file
    holds, see model.made_by.  show(results) prints them.  owns: the files
    written in the folder.
    """
    from common import parallel
    from common.datasets import dataset_inputs
    from common.device import pick_device, set_precision
    from common.files import fingerprint
    from common.job import Job

    device = pick_device(request.device, parallel.local_rank())
    set_precision("fp32")
    uses = [f"eval.{entry}" for flag, entry in EVAL_FLAGS.items() if hasattr(request, flag)]
    work = WorkDir(request.workdir)
    model = load_model(request, work, device, command, uses)
    # images that the training could not read keep their places, so that the splits are the training's
    images, options = settle(request, model.config, stored_names(work.training) or None)
    source = fingerprint(model.path)
    data = dataset_inputs(options.dataset or model.config["data"]["dataset"])
    job = Job(folder, command, options, request=request, about=[source], owns=owns, show=show,
              summary={"nll": findings.nll, "asym": findings.asym, "dsm": findings.dsm}[command.split()[-1]],
              derived={"checkpoint sha256": source["sha256"], "data": images.fingerprint()},
              inputs=None if data is None else [*model_inputs(request, model), *data])

    settings = {name: getattr(options, name) for name in SETTINGS if hasattr(options, name)}
    identity = {name: value for name, value in images.fingerprint().items() if name != "name"}
    source_text = made_by(command, options, source["sha256"], model.weights, data=identity, **settings)

    def compute():
        announce(model)
        note_changes(images)
        return measure(options, model, images, folder, device, source_text)

    line = (f"would evaluate {model.path} on {options.num_images:,} images, {counted(options.total_repeat, 'repeat')}, "
            f"into {folder}")
    return job.run(compute, lambda: (line, {"num_images": options.num_images}), device)
