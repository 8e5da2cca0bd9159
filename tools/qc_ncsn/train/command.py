"""Train U-, C- and QC-NCSN++ score models; published checkpoints are read and written in their own layout."""

from dataclasses import dataclass, replace
from typing import List, Optional

from common import flags
from common.cli import run
from common.datasets import canonical_name
from common.errors import InputError
from common.options import REQUIRED, CommonOptions, option
from common.score.config import override
from common.score.config_files import configuration, configuration_files
from common.score.ranges import check_config
from tools.qc_ncsn import findings
from tools.qc_ncsn.data import open_images
from tools.qc_ncsn.train import screen
from tools.qc_ncsn.unreadable import Unreadable, recorded_fingerprint, stored_names
from tools.qc_ncsn.work_dir import WorkDir

PROG = "qc_ncsn train"
OWNS = ("checkpoints", "checkpoints-meta", "samples", "tensorboard", "wandb", "stdout.txt", "log.jsonl",
        "unreadable*.json")

EPILOG = """examples:
  qc_ncsn train --config u_digits --workdir digits_u
  qc_ncsn train --config qc_cifar10 --workdir qc --restore u_checkpoint.pth --slices 16 --bs 8 --data_dir data"""


@dataclass(kw_only=True)
class TrainOptions(CommonOptions):
    """Flags of `qc_ncsn train`."""

    config: str = option(REQUIRED, "preset (python -m tools presets), a YAML or JSON file, or the path of a "
                         "published configuration",
                         kind="how")
    workdir: str = option(REQUIRED, "work folder, under results/ unless absolute or starting with a dot", kind="how")
    slices: Optional[int] = option(None, "K, random vectors per image in the regulariser (default: the preset's)")
    bs: Optional[int] = option(None, "batch size over all processes (default: the preset's)",
                               short="--batch_size")
    balancing_fac: Optional[float] = option(None, "lambda, weight of the regulariser; 0 or less disables it")
    reg_weight: Optional[str] = option(None,
                                       "weight of the regulariser by noise level: sigma2 as in the paper, or sigma4",
                                       choices=["sigma2", "sigma4"])
    restore: Optional[str] = option(None, "checkpoint to start from: weights, EMA and optimiser")
    fresh_optimizer: bool = option(False, "with --restore: load weights and EMA, but start a new optimiser")
    init_step: Optional[int] = option(None, "first step (default: after the restored one, or the preset's)")
    n_iters: Optional[int] = option(None, "last step, inclusive (default: the preset's)", kind="total")
    dataset: Optional[str] = option(None, "another data set: a name, an image folder, a zip or an npz")
    data_dir: Optional[str] = flags.data_dir()
    seed: int = flags.seed("weights, batches and noise")
    set: List[str] = option([], "override an entry of the configuration; also --config.section.name=value",
                            nargs="*", type=str, kind="how", metavar="SECTION.NAME=VALUE")
    accumulate: int = flags.accumulate()
    activation_checkpointing: bool = option(False, "gradient checkpointing", kind="how")
    precision: str = flags.precision()
    fused: bool = option(False, "fused Adam kernel: faster, differs in the last bits")
    memory_gb: float = flags.memory_gb()
    compile: bool = flags.compile()
    device: str = flags.device()
    num_workers: int = flags.num_workers(0, "threads that prefetch batches")
    log_freq: Optional[int] = option(None, "steps between lines of log.jsonl", kind="how")
    tensorboard: bool = flags.tensorboard()
    wandb: bool = flags.wandb()


def settle(options):
    """Return (options with the preset's values where no flag was given, the configuration with the flags applied)."""
    config, settled = override(configuration(options.config), options.set), {}
    options = replace(options, dataset=options.dataset and canonical_name(options.dataset))
    flags = {
        "slices": ("loss", "slices"), "balancing_fac": ("loss", "balancing_fac"), "reg_weight": ("loss", "reg_weight"),
        "bs": ("training", "batch_size"), "n_iters": ("training", "n_iters"), "init_step": ("training", "init_step"),
        "log_freq": ("training", "log_freq"), "dataset": ("data", "dataset"),
    }
    for name, (section, key) in flags.items():
        if getattr(options, name) is not None:
            config[section][key] = getattr(options, name)
        elif name != "init_step":
            settled[name] = config[section][key]
    if config["model"]["energy"] and config["loss"]["balancing_fac"] > 0:
        raise InputError("a C-NCSN++ is already conservative", where="--balancing_fac",
                         do="Omit the flag, or pass 0")
    if options.fresh_optimizer and not options.restore:
        raise InputError("needs --restore", where="--fresh_optimizer", do="Add --restore PATH")
    return replace(options, **settled), config


def flat(config):
    """Return {"section.name": value} of the entries that shape a run; logging and saving intervals do not, but for
    that of the snapshots, by which their files are numbered."""
    skipped = {"n_iters", "log_freq", "snapshot_freq_for_preemption", "snapshot_sampling", "snapshot_nll",
               "snapshot_metric"}
    values = {}
    for section in ("training", "data", "model", "optim", "loss"):
        values |= {f"{section}.{key}": value for key, value in config[section].items() if key not in skipped}
    if config["optim"]["schedule"] == "cosine":
        values["training.n_iters"] = config["training"]["n_iters"]  # the learning rate depends on the last step
    return values


def main(request):
    """Run `qc_ncsn train`; results: step, training_loss, training_reg, parameters, images_per_second."""
    from common import parallel
    from common.datasets import dataset_inputs
    from common.datasets.sets.folders import check_set_apart
    from common.device import pick_device, set_precision
    from common.job import Job
    from common.score.container import read_checkpoint

    options, config = settle(request)
    work = WorkDir(options.workdir)
    restored = read_checkpoint(options.restore) if options.restore else None
    if restored is not None and options.init_step is None and restored.get("step") is not None:
        config["training"]["init_step"] = restored["step"] + 1
    check_config(config)
    absent = [] if options.overwrite else stored_names(work.root)
    images = open_images(config, options.data_dir, absent=absent)
    check_set_apart(config["data"]["dataset"], work.root, "--workdir")
    device = pick_device(options.device, parallel.local_rank())
    set_precision(options.precision)
    options = replace(options, **{name: config["training"][name] for name in ("n_iters", "init_step")})
    inputs = dataset_inputs(config["data"]["dataset"])
    if inputs is not None:
        inputs = [*inputs, *configuration_files(options.config), *([options.restore] if options.restore else [])]
    recorded = images.fingerprint() if options.overwrite else recorded_fingerprint(work.root, images)
    job = Job(work.root, PROG, options, request=request, derived={**flat(config), "data": recorded},
              about=[images.fingerprint()], inputs=inputs, owns=OWNS, summary=findings.train)
    run = None
    if job.answer() is None:
        from tools.qc_ncsn.train.run import ScoreTraining

        unreadable = Unreadable(work.root, images, recorded, absent)
        run = ScoreTraining(options, config, work, images, unreadable, device, restored, job.overwrite)
        screen.note_restored(config, restored, options.restore)
    del restored

    def train():
        screen.begin(run, images, repaired=len(absent) if recorded != images.fingerprint() else 0)
        results = run.loop()
        screen.end(run, options)
        return results, [work.meta_checkpoint, work.json_log]

    return job.run(train, lambda: screen.plan(run, images, config, work), device)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, TrainOptions, PROG, "Train a U-, C- or QC-NCSN++ score model.", EPILOG, words, "train",
               lambda options: WorkDir(options.workdir).root)
