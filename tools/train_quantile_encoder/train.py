"""From flags to a trained encoder: check everything, then hand over to the loop."""

from dataclasses import replace
from pathlib import Path

from common import console, parallel
from common.errors import InputError
from common.numerals import counted
from tools.train_quantile_encoder import findings

PROG = "train_quantile_encoder"
OWNS = ("checkpoint.pth", "log.jsonl", "checkpoints/iteration_*.pt", "images/step_*.png",
        "predictions.png", "tensorboard", "wandb")
FFHQ = 9088  # coordinates of the generator whose dims have names
SIZE = 256  # px, of the published encoders


def train(request):
    """Train; results: steps, training_loss, parameters, images, damaged, images_per_second, encoder (path) and, with
    --val_data_path, NAME_{factor}x for the names of validate.measure and each factor."""
    from common.device import pick_device, set_precision
    from common.job import Job
    from tools.train_quantile_encoder.checks import check_flags, check_place, model_name

    check_flags(request)
    check_place(request)
    device = pick_device(request.device, parallel.local_rank())
    set_precision("tf32" if request.precision == "tf32" else "fp32")
    options, material = gather(request, device)
    folder = Path(options.exp_dir)
    job = Job(folder, PROG, options, request=request, derived=material.derived(options), inputs=inputs_of(options),
              owns=[*OWNS, f"models/{model_name(options)}"], summary=findings.train)
    run = None
    if job.answer() is None:
        from tools.train_quantile_encoder.loop import EncoderTraining

        run = EncoderTraining(options, material, device, job.overwrite)
    outputs = [folder / "models" / model_name(options), folder / "checkpoint.pth", folder / "log.jsonl"]
    return job.run(lambda: (run.loop(), outputs), lambda: rehearse(options, material, run), device)


def gather(request, device):
    """Return (options with sizes and factors settled, Material) of all that a training reads."""
    from common.rcps.dims import find_dims
    from tools.train_quantile_encoder.checks import check_size, degradations
    from tools.train_quantile_encoder.material import Material, open_generator

    generator = open_generator(request.stylegan_weights, device)
    if request.output_size not in (None, generator.network.size):
        raise InputError(f"the generator makes images of {generator.network.size} px",
                         where=f"--output_size {request.output_size}", do="Leave out the flag")
    size = request.encoder_size or min(SIZE, generator.network.size)
    check_size(request, size)
    factors, probabilities = degradations(request, size)
    num_dims = sum(generator.network.widths)
    options = replace(request, encoder_size=size, resize_factors=[str(factor) for factor in factors],
                      resize_probabilities=[repr(share) for share in probabilities], output_size=generator.network.size,
                      dims=request.dims or ("ffhq33" if num_dims == FFHQ else "all"))
    dims = find_dims(options.dims, num_dims)[0]
    return options, Material(options, generator, factors, probabilities, dims, device)


def inputs_of(options):
    """Return the paths that the flags name."""
    names = ("generated_train_data_path", "real_train_data_path", "val_data_path", "stylegan_weights",
             "pretrained_model_path", "checkpoint_path", "lpips_weights", "id_weights")
    given = [getattr(options, name) for name in names if getattr(options, name) is not None]
    return [*given, options.dims] if Path(options.dims).is_file() else given


def rehearse(options, material, run):
    """Return (the line for --dry_run, its results)."""
    left = options.max_steps - (run.done if run else options.max_steps)
    console.say(f"factors {', '.join(options.resize_factors)} at {options.encoder_size} px, "
                f"{len(material.centre):,} coordinates")
    steps = counted(left, "step")
    return (f"would train {steps} at batch size {options.batch_size} on {len(material.generated):,} images "
            f"into {options.exp_dir}", {"steps": left, "images": len(material.generated)})
