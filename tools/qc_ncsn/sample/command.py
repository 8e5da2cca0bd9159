"""Sample from a score model: predictor-corrector, ODE, the stochastic multistep sampler, or EDM's Heun sampler."""

from dataclasses import dataclass
from typing import Optional

from common.cli import Outcome, option, run
from common.errors import InputError
from common.score.config import sampling_rules
from tools.qc_ncsn.model import ModelOptions, load_model

EPILOG = """examples:
  qc_ncsn sample --workdir digits_u --num_samples 300 --method multistep --num_steps 50
  qc_ncsn sample --config qc_cifar10 --workdir qc --checkpoint_idx 70 --num_divisions 10 --division_idx 0"""

# Flags that are entries of the configuration's `sampling` section, which they overrule.
SAMPLING_FLAGS = ("method", "num_scales", "num_steps", "snr", "rtol", "atol", "sigma_max", "eta")


@dataclass(kw_only=True)
class SampleOptions(ModelOptions):
    """Flags of `qc_ncsn sample`."""

    num_samples: Optional[int] = option(None, "images over all divisions (the preset's when not given)", kind="total")
    num_divisions: int = option(1, "independent processes that share the job", kind="how")
    division_idx: int = option(0, "the part that this process makes", kind="how")
    bs: int = option(2500, "images that go through the network together", short="--batch_size", kind="how")
    method: Optional[str] = option(None, "pc, ode, multistep or heun (the preset's when not given)",
                                   choices=["pc", "ode", "multistep", "heun"])
    ode: bool = option(False, "the same as --method ode; samples go to eval_sampling_ode")
    num_scales: Optional[int] = option(None, "steps of the PC sampler, two network calls each")
    num_steps: Optional[int] = option(None, "steps of multistep (one network call each) and heun (two)")
    snr: Optional[float] = option(None, "signal-to-noise ratio of the Langevin corrector")
    rtol: Optional[float] = option(None, "relative tolerance of the ODE solver")
    atol: Optional[float] = option(None, "absolute tolerance of the ODE solver")
    sigma_max: Optional[float] = option(None, "first noise level of multistep and heun; 0: the SDE's")
    eta: Optional[float] = option(None,
                                  "renewed noise in the multistep sampler: 0 the ODE, 1 the reverse SDE, above 1 more, "
                                  "as Langevin steps")
    weights: str = option("ema", "which weights of the checkpoint", choices=["ema", "raw"])
    deterministic: bool = option(False, "ask for deterministic kernels (seeds always count here)", kind="how")
    precision: str = option("fp32", "number format of the network", choices=["fp32", "tf32", "bf16"])
    compile: bool = option(False, "compile the network with torch.compile", kind="how")


def check_flags(options):
    """Raise InputError for flags out of range."""
    rules = [
        (options.num_divisions >= 1, "num_divisions", "must be at least 1"),
        (0 <= options.division_idx < options.num_divisions, "division_idx",
         f"must lie in 0..{options.num_divisions - 1} for --num_divisions {options.num_divisions}"),
        (options.num_samples is None or options.num_samples >= 1, "num_samples", "must be at least 1"),
        (options.bs >= 1, "bs", "must be at least 1"),
    ]
    for good, name, what in rules:
        if not good:
            raise InputError(what, where=f"--{name} {getattr(options, name)}", do="Correct the value")
    if options.ode and options.method not in (None, "ode"):
        raise InputError(f"contradicts --method {options.method}", where="--ode", do="Leave one of them out")


def sampling_settings(options, config):
    """Return the configuration's `sampling` section with the flags applied, and fill the flags from it."""
    settings = dict(config["sampling"])
    if options.ode:
        options.method = "ode"
    for name in SAMPLING_FLAGS:
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
        setattr(options, name, settings[name])
    for good, name, what in sampling_rules(settings, config["model"]):
        key = name.removeprefix("sampling.")
        if not good:
            flag = f"--{key} " if key in SAMPLING_FLAGS else f"--config.{name}="
            raise InputError(what, where=f"{flag}{settings[key]}", do="Correct the value")
    options.num_samples = options.num_samples or config["eval"]["num_samples"]
    options.ode = settings["method"] == "ode"
    return settings


def main(options):
    """Run `qc_ncsn sample`; results: num_samples, method, nfe (mean network calls per image), images_per_second."""
    from common import console, parallel
    from common.device import describe, pick_device, set_precision
    from common.diffusion.score_sampling import Sampler
    from common.files import check_writable, fingerprint
    from common.job import RunRecord
    from tools.qc_ncsn.sample.rounds import division_bounds, rounds_of
    from tools.qc_ncsn.work_dir import WorkDir

    check_flags(options)
    work = WorkDir(options.workdir)
    device = pick_device(options.device, parallel.local_rank())
    set_precision(options.precision)
    model = load_model(options, work, device)
    settings = sampling_settings(options, model.config)
    folder = work.sampling(options.ode) / str(options.division_idx)
    check_writable(folder)
    extent = division_bounds(options.num_samples, options.num_divisions, options.division_idx)
    rounds = rounds_of(*extent, options.bs)
    source = fingerprint(model.path)
    derived = {**{f"sampling.{name}": value for name, value in settings.items()}, "checkpoint sha256": source["sha256"]}
    record = RunRecord(folder, "qc_ncsn", options, derived, [source], extent)
    record.compare()
    record.extra = {"machine": describe(device)}
    count = sum(map(len, rounds))
    if options.dry_run:
        console.say(f"would make {count:,} images in {len(rounds)} files with {settings['method']} from {model.path}")
        return Outcome({"num_samples": count, "method": settings["method"]})
    with parallel.process_group(device.type):
        stale = [path for pattern in ("samples_*.npz", "samples_*.png") for path in folder.glob(pattern)]
        earlier = parallel.gather_objects(record.begin(stale) if parallel.is_main() else None)[0]
        if earlier is not None:
            console.say(f"{folder}: all {earlier['num_samples']:,} images are there")
            return Outcome(earlier, record=record)
        from tools.qc_ncsn.sample.run import make_rounds

        results = make_rounds(options, Sampler(model, settings, options.coupling), rounds, folder, device)
    results |= {"method": settings["method"], "checkpoint": str(model.path), "weights": options.weights}
    return Outcome(results, [str(folder / f"samples_{number}.npz") for number in range(len(rounds))], record)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, SampleOptions, "qc_ncsn sample", "Sample images from a score model.", EPILOG, words, "sample")
