"""Sample from a score model: predictor-corrector, ODE, the stochastic multistep sampler, or EDM's Heun sampler."""

from dataclasses import dataclass, replace
from typing import Optional

from common import flags
from common.cli import run
from common.effects import check_effects, note_idle, without_effect
from common.errors import InputError
from common.numerals import counted
from common.options import option
from common.score.ranges import sampling_rules
from tools.qc_ncsn import findings
from tools.qc_ncsn.model import ModelOptions, announce, load_model, made_by, model_inputs
from tools.qc_ncsn.series import run_series, series_folder, several
from tools.qc_ncsn.work_dir import WorkDir

PROG = "qc_ncsn sample"
IMAGES = "images"  # folder of single PNGs

EPILOG = """examples:
  qc_ncsn sample --workdir digits_u --num_samples 300 --method multistep --num_steps 50
  qc_ncsn sample --workdir digits_u --seeds 0-63,100 --png --method ode
  qc_ncsn sample --config qc_cifar10 --workdir qc --checkpoint_idx 70 --num_divisions 10 --division_idx 0"""

# Flags that override entries of the configuration's section `sampling`.
SAMPLING_FLAGS = ("method", "num_scales", "num_steps", "snr", "rtol", "atol", "sigma_max", "eta")


@dataclass(kw_only=True)
class SampleOptions(ModelOptions):
    """Flags of `qc_ncsn sample`."""

    seeds: Optional[str] = option(None, "numbers of the images to make, such as 0-63,100, instead of --num_samples: "
                                  "image i is the image of that number", metavar="LIST")
    num_samples: Optional[int] = option(None, "images over all divisions (default: the preset's)", kind="total", low=1,
                                        high=flags.MOST_IMAGES)
    num_divisions: int = option(1, "number of independent processes that share the job", kind="how", low=1)
    division_idx: int = option(0, "index of this process's part", kind="how", low=0)
    bs: int = flags.batch_size(2500, "--batch_size")
    method: Optional[str] = option(None, "pc, ode, multistep or heun (default: the preset's)",
                                   choices=["pc", "ode", "multistep", "heun"])
    ode: bool = option(False, "same as --method ode; samples go to eval_sampling_ode")
    num_scales: Optional[int] = option(None, "steps of pc, two network calls each")
    num_steps: Optional[int] = option(None, "steps of multistep (one network call each) and heun (two)")
    snr: Optional[float] = option(None, "pc: signal-to-noise ratio of the Langevin corrector")
    rtol: Optional[float] = option(None, "relative tolerance of the ODE solver")
    atol: Optional[float] = option(None, "absolute tolerance of the ODE solver")
    sigma_max: Optional[float] = option(None, "initial noise level of multistep and heun; 0: the SDE's")
    eta: Optional[float] = option(None, "multistep: stochasticity eta; 0 the ODE, 1 the reverse SDE, above 1 more, "
                                  "like Langevin steps")
    weights: str = option("ema", "weights of the checkpoint to use", choices=["ema", "raw"])
    png: bool = option(False, "also each image as a PNG of its own, images/NUMBER.png", kind="how")
    deterministic: bool = option(False, "use deterministic kernels (seeds are always respected)", kind="how")
    precision: str = flags.precision()
    compile: bool = flags.compile()


def check_flags(options):
    """Raise InputError for flags that contradict each other."""
    if options.division_idx >= options.num_divisions:
        raise InputError(f"must be below --num_divisions {options.num_divisions}",
                         where=f"--division_idx {options.division_idx}", do="Correct the value")
    if options.ode and options.method not in (None, "ode"):
        raise InputError(f"contradicts --method {options.method}", where="--ode", do="Omit one of them")
    if options.seeds is not None and options.num_samples is not None:
        raise InputError("contradicts --seeds, which says how many", where=f"--num_samples {options.num_samples}",
                         do="Omit one of them")


def settle(options, config, seeds=None):
    """Return (options with the configuration's values where no flag was given, its `sampling` section with the flags
    applied); seeds: the numbers of the images, where they are chosen."""
    from tools.qc_ncsn.sample.rounds import seeds_text

    overrides = {name: getattr(options, name) for name in SAMPLING_FLAGS if getattr(options, name) is not None}
    settings = {**config["sampling"], **overrides, **({"method": "ode"} if options.ode else {})}
    for good, name, what in sampling_rules(settings, config["model"]):
        key = name.removeprefix("sampling.")
        if not good:
            flag = f"--{key} " if key in SAMPLING_FLAGS else f"--config.{name}="
            raise InputError(what, where=f"{flag}{settings[key]}", do="Correct the value")
    options = replace(options, **{name: settings[name] for name in SAMPLING_FLAGS}, ode=settings["method"] == "ode",
                      num_samples=options.num_samples or config["eval"]["num_samples"])
    if seeds is not None:
        options = replace(options, num_samples=len(seeds), seeds=seeds_text(seeds))
    return options, settings


def acts(method):
    """Return when options of a sampler act, see common.effects."""
    levels, ode = (method in ("multistep", "heun"), "--method multistep or heun"), (method == "ode", "--method ode")
    return {"snr": (method == "pc", "--method pc"), "rtol": ode, "atol": ode, "num_steps": levels,
            "sigma_max": levels, "eta": (method == "multistep", "--method multistep")}


def share(options, seeds=None):
    """Return ((first, last) place of this division among all images, the image numbers of each of its rounds)."""
    from tools.qc_ncsn.sample.rounds import division_bounds, rounds_of

    extent = division_bounds(options.num_samples, options.num_divisions, options.division_idx)
    rounds = rounds_of(*extent, options.bs)
    return extent, rounds if seeds is None else [seeds[places] for places in rounds]


def division_folder(options):
    """Return the folder of a division's samples."""
    ode = options.ode or options.method == "ode"
    return WorkDir(options.workdir).sampling(ode) / str(options.division_idx)


def main(request):
    """Run `qc_ncsn sample`; results: num_samples, method, nfe (mean network calls per image), images_per_second."""
    from common import parallel
    from common.device import pick_device, set_precision
    from common.diffusion.score_sampling import Sampler
    from common.files import fingerprint
    from common.job import Job
    from tools.qc_ncsn.sample.rounds import parse_seeds

    check_flags(request)
    seeds = None if request.seeds is None else parse_seeds(request.seeds)
    if several(request):
        return run_series(request, PROG, "sample", main, division_folder)
    device = pick_device(request.device, parallel.local_rank())
    set_precision(request.precision)
    model = load_model(request, WorkDir(request.workdir), device, PROG, ("sampling.", "eval.num_samples"))
    options, settings = settle(request, model.config, seeds)
    check_effects(request, acts(settings["method"]))
    note_idle(without_effect(request, {"num_scales": (settings["method"] == "pc", "--method pc")}))
    folder = division_folder(options)
    extent, rounds = share(options, seeds)
    source = fingerprint(model.path)
    derived = {**{f"sampling.{name}": value for name, value in settings.items()}, "checkpoint sha256": source["sha256"]}
    single = folder / IMAGES
    png = options.png or (single.is_dir() and not options.overwrite)  # once made, they are kept complete
    job = Job(folder, PROG, options, request=request, derived=derived, inputs=model_inputs(request, model),
              about=[source], extent=extent, owns=["samples_*.npz", "samples_*.png", IMAGES],
              content={"single images": True} if png else {}, summary=findings.sample)

    def rehearse():
        count = sum(map(len, rounds))
        singly = f", and each as a PNG into {single}" if png else ""
        line = (f"would sample {counted(count, 'image')} in {counted(len(rounds), 'file')} with {settings['method']} "
                f"from {model.path}")
        return line + singly, {"num_samples": count, "method": settings["method"]}

    def work():
        from tools.qc_ncsn.sample.run import make_rounds, write_images

        announce(model)
        source_text = made_by(PROG, options, source["sha256"], model.weights, sampling=settings)
        sampler = Sampler(model, settings, options.coupling)
        results = make_rounds(options, sampler, rounds, folder, device, source_text)
        if png:
            write_images(rounds, folder, single)
        results |= {"method": settings["method"], "checkpoint": str(model.path), "step": model.step,
                    "weights": model.weights}
        return results, [folder / f"samples_{number}.npz" for number in range(len(rounds))]

    return job.run(work, rehearse, device)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, SampleOptions, PROG, "Sample images from a score model.", EPILOG, words, "sample",
               lambda options: series_folder(options, "sample") if several(options) else division_folder(options))
