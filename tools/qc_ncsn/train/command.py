"""Train U-, C- and QC-NCSN++ score models; published checkpoints are read and written in their own layout."""

from dataclasses import dataclass
from typing import List, Optional

from common.cli import REQUIRED, CommonOptions, Outcome, option, run
from common.errors import InputError
from common.score.config import check_config, override, preset
from tools.qc_ncsn.data import open_images

EPILOG = """examples:
  qc_ncsn train --config u_digits --workdir digits_u
  qc_ncsn train --config qc_cifar10 --workdir qc --restore u_checkpoint.pth --slices 16 --bs 8 --data_dir data"""


@dataclass(kw_only=True)
class TrainOptions(CommonOptions):
    """Flags of `qc_ncsn train`."""

    config: str = option(REQUIRED, "preset (python -m tools presets) or the path of a published configuration",
                         kind="how")
    workdir: str = option(REQUIRED, "work folder, below results/ unless absolute or starting with a dot", kind="how")
    slices: Optional[int] = option(None, "K, random vectors per image in the regulariser (the preset's when not given)")
    bs: Optional[int] = option(None, "batch size over all processes (the preset's when not given)",
                               short="--batch_size")
    balancing_fac: Optional[float] = option(None, "lambda, weight of the regulariser; 0 or less switches it off")
    reg_weight: Optional[str] = option(None,
                                       "the regulariser's weight over noise levels: sigma2 as in the paper, or sigma4",
                                       choices=["sigma2", "sigma4"])
    restore: Optional[str] = option(None, "checkpoint to start from: weights, moving average and optimiser")
    fresh_optimizer: bool = option(False, "with --restore: take weights and moving average, but a new optimiser")
    init_step: Optional[int] = option(None, "first step (default: after the restored one, or the preset's)")
    n_iters: Optional[int] = option(None, "last step, inclusive (the preset's when not given)", kind="total")
    dataset: Optional[str] = option(None, "another data set: a name, an image folder, a zip or an npz")
    data_dir: Optional[str] = option(None, "where the real data sets lie", kind="how")
    seed: int = option(0, "seed of weights, batches and noise")
    set: List[str] = option([], "another entry of the configuration, also as --config.section.name=value",
                            nargs="*", type=str, kind="how", metavar="SECTION.NAME=VALUE")
    accumulate: int = option(1, "parts in which a batch goes through the network, to save memory", kind="how")
    activation_checkpointing: bool = option(False, "compute activations again in the backward pass, to save memory",
                                            kind="how")
    precision: str = option("fp32", "number format of the network", choices=["fp32", "tf32", "bf16"])
    fused: bool = option(False, "Adam's update by the library's fused kernel: faster, and other last bits")
    memory_gb: float = option(4.0, "keep decoded images in memory when all of them take no more (per process)",
                              kind="how")
    compile: bool = option(False, "compile the loss with torch.compile", kind="how")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps", kind="how")
    num_workers: int = option(0, "threads that prepare batches ahead", kind="how")
    log_freq: Optional[int] = option(None, "steps between lines of log.jsonl", kind="how")
    tensorboard: bool = option(False, "also log to TensorBoard (needs the package tensorboard)", kind="how")
    wandb: bool = option(False, "also log to Weights & Biases (needs the package wandb)", kind="how")


def resolve(options):
    """Return the configuration of the flags, and fill the flags that were left to the preset (the first step later)."""
    config = override(preset(options.config), options.set)
    flags = {
        "slices": ("loss", "slices"), "balancing_fac": ("loss", "balancing_fac"), "reg_weight": ("loss", "reg_weight"),
        "bs": ("training", "batch_size"), "n_iters": ("training", "n_iters"), "init_step": ("training", "init_step"),
        "log_freq": ("training", "log_freq"), "dataset": ("data", "dataset"),
    }
    for name, (section, key) in flags.items():
        if getattr(options, name) is not None:
            config[section][key] = getattr(options, name)
        elif name != "init_step":
            setattr(options, name, config[section][key])
    if config["model"]["energy"] and config["loss"]["balancing_fac"] > 0:
        raise InputError("a C-NCSN++ is conservative already", where="--balancing_fac",
                         do="Leave the flag out, or pass 0")
    if options.accumulate < 1:
        raise InputError("must be at least 1", where="--accumulate", do="Pass 1 or more")
    if options.num_workers < 0:
        raise InputError("must be at least 0", where="--num_workers", do="Pass 0 or more")
    if options.fresh_optimizer and not options.restore:
        raise InputError("needs a checkpoint to start from", where="--fresh_optimizer", do="Add --restore PATH")
    return config


def flat(config):
    """Return {"section.name": value} of what shapes a run: how often it logs or saves does not."""
    skipped = {"n_iters", "log_freq", "snapshot_freq", "snapshot_freq_for_preemption", "snapshot_sampling",
               "snapshot_nll"}
    values = {}
    for section in ("training", "data", "model", "optim", "loss"):
        values |= {f"{section}.{key}": value for key, value in config[section].items() if key not in skipped}
    if config["optim"]["schedule"] == "cosine":
        values["training.n_iters"] = config["training"]["n_iters"]  # the rate depends on where the run ends
    return values


def main(options):
    """Run `qc_ncsn train`; results: step, training_loss, training_reg, parameters, images_per_second."""
    from common import console, parallel
    from common.device import describe, pick_device, set_precision
    from common.files import check_writable
    from common.job import RunRecord
    from common.score.models import read_checkpoint
    from tools.qc_ncsn.work_dir import WorkDir

    config, work = resolve(options), WorkDir(options.workdir)
    restored = read_checkpoint(options.restore) if options.restore else None
    if restored is not None and options.init_step is None and restored.get("step") is not None:
        config["training"]["init_step"] = restored["step"] + 1
    check_config(config)
    images = open_images(config, options)
    check_writable(work.root)
    device = pick_device(options.device, parallel.local_rank())
    set_precision(options.precision)
    options.n_iters, options.init_step = config["training"]["n_iters"], config["training"]["init_step"]
    record = RunRecord(work.root, "qc_ncsn", options, {**flat(config), "data": images.fingerprint()})
    record.extra = {"machine": describe(device)}
    run = None
    if record.answer() is None:
        from tools.qc_ncsn.train.run import TrainingRun

        run = TrainingRun(options, config, work, images, device, restored, record.anew)
    del restored
    if options.dry_run:
        steps = config["training"]["n_iters"] - config["training"]["init_step"] + 1
        console.say(f"would train {steps:,} steps of {config['training']['batch_size']} on {len(images):,} images of "
                    f"{config['data']['dataset']} and write {work.root}")
        return Outcome({"steps": steps, "images": len(images)})
    with parallel.process_group(device.type):
        clear = (work.checkpoints, work.meta_checkpoint.parent, work.samples, work.tensorboard, work.root / "wandb",
                 work.log, work.json_log)
        earlier = parallel.gather_objects(record.begin(clear) if parallel.is_main() else None)[0]
        if earlier is not None:
            console.say(f"{work.root}: already trained to step {earlier['step']}")
            return Outcome(earlier, record=record)
        results = run.loop()
    return Outcome(results, [str(work.meta_checkpoint), str(work.json_log)], record)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, TrainOptions, "qc_ncsn train", "Train a U-, C- or QC-NCSN++ score model.", EPILOG, words, "train")
