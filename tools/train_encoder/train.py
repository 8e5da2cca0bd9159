"""From flags to a trained encoder: check everything, then hand over to the loop."""

from pathlib import Path

from common import console, parallel
from common.numerals import counted
from tools.train_encoder import findings

OWNS = ("state.pth", "log.jsonl", "last.pt", "best.pt", "step_*.jpg", "val_images_results.json", "tensorboard", "wandb")


def train(request, command):
    """Train; results: steps, loss, best_step, best_held_out_loss, those of quality.Quality.summary, weights (ema or
    raw), parameters, damaged, images_per_second.

    command: "train_encoder pretrain" or "train_encoder train".
    """
    from common.device import pick_device, set_precision
    from common.job import Job
    from tools.train_encoder.material import Material
    from tools.train_encoder.options import settled

    options = settled(request)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("tf32" if options.precision == "tf32" else "fp32")
    material, folder = Material(options, device), Path(options.output_dir)
    job = Job(folder, command, options, request=request, derived=material.derived(), inputs=inputs_of(options),
              owns=OWNS, summary=findings.train)
    run = None
    if job.answer() is None:
        from tools.train_encoder.loop import EncoderTraining

        run = EncoderTraining(options, material, device, job.overwrite)
    outputs = [folder / name for name in ("last.pt", "best.pt", "state.pth", "log.jsonl", "val_images_results.json")]
    return job.run(lambda: (run.loop(), outputs), lambda: rehearse(options, material, run), device)


def inputs_of(options):
    """Return the paths that the flags name, None where a named data set's files are many."""
    from common.datasets import dataset_inputs
    from tools.train_encoder.options import NONE

    names = ("blobgan_weights", "start_weights", "decision_weights", "lpips_weights", "perceptual")
    given = [getattr(options, name) for name in names if getattr(options, name) not in (None, NONE)]
    given = [path for path in given if Path(path).exists()]
    for name in ("dataset_path", "val_path"):
        place = getattr(options, name, None)
        more = [] if place is None else dataset_inputs(place)
        if more is None:
            return None
        given += more
    return given


def rehearse(options, material, run):
    """Return (the line for --dry_run, its results)."""
    left = options.n_iters - (run.done if run else options.n_iters)
    parameters = sum(parameter.numel() for parameter in material.network.parameters())
    terms = ", ".join(f"{weight:g} {term}" for term, weight in material.weights.items() if weight)
    console.say(f"encoder of {parameters:,} parameters, latents of {material.config.outputs:,}; terms: {terms}")
    pictures = f" on {counted(len(material.real), 'picture')}" if material.real else ""
    steps = counted(left, "step")
    return (f"would train {steps} at batch size {options.batch_size}{pictures} into {options.output_dir}",
            {"steps": left, "parameters": parameters})
