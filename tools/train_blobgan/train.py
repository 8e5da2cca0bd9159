"""From flags to a trained BlobGAN: check everything, then hand over to the loop."""

from dataclasses import replace
from pathlib import Path

from common import console, parallel
from common.effects import note_idle, without_effect
from common.errors import InputError
from common.numerals import byte_count, counted
from tools.train_blobgan import findings

PROG = "train_blobgan"
OWNS = ("state.pth", "log.jsonl", "checkpoints/epoch=*-step=*.ckpt",
        "checkpoints/epoch=*-step=*.safetensors", "samples/step_*.png", "reals.png",
        "tensorboard", "wandb", "hydra_config.yaml", "model_summary.txt")
OF_FID = ("fid_n_imgs", "fid_batch_size", "fid_stats_name", "reference", "stats_dir", "extractor", "fid_weights",
          "any_stats")


def train(given, output_dir):
    """Train; results: steps, loss_G, loss_D, parameters, images, damaged, skipped_steps, images_per_second,
    checkpoint.

    given: the options of the command.  output_dir: the default of that flag.
    """
    from common.device import pick_device, set_precision
    from common.job import Job
    from common.training.keep import direction
    from tools.train_blobgan.fid import reference_identity
    from tools.train_blobgan.networks import configuration
    from tools.train_blobgan.parts import check_split
    from tools.train_blobgan.presets import filled
    from tools.train_blobgan.runs import settle

    request, accepted = settle(given, output_dir)
    if request.data is None:
        raise InputError("missing flag", where="--data", do="Pass the images, or dataset.path=PLACE")
    options = filled(request)
    direction(options.monitor, options.mode)
    note_idle(without_effect(request, acts(options)))
    device = pick_device(options.device, parallel.local_rank())
    set_precision("tf32" if options.precision == "tf32" else "fp32")
    check_split(options.batch_size, options.accumulate, options.stddev_rows, parallel.world_size())
    images = open_images(options)
    images.check_apart(options.output_dir)
    config = replace(configuration(options), other={"transform": images.transform.describe()})
    folder = Path(options.output_dir)
    reference = reference_identity(options)
    derived = {"images": images.fingerprint(), **({"reference_images": reference} if reference else {}),
               **start_identity(options, folder)}
    job = Job(folder, PROG, options, request=given, derived=derived,
              inputs=inputs_of(options), owns=OWNS, accepted=accepted, summary=findings.train)
    run = None
    if job.answer() is None:
        from tools.train_blobgan.loop import BlobGANTraining
        from tools.train_blobgan.words import say_effective

        run = BlobGANTraining(options, config, images, device, job.overwrite)
        if parallel.is_main():
            say_effective(options)
    outputs = [folder / "state.pth", folder / "log.jsonl"]
    return job.run(lambda: (run.loop(), outputs), lambda: rehearse(options, config, images, run), device)


def acts(options):
    """Return when flags act that a configuration of the original sets in any case, see common.effects."""
    from tools.train_blobgan.fid import wants_fid

    return dict.fromkeys(OF_FID, (wants_fid(options), "--log_fid_every_n_steps or --log_fid_every_epoch")) | {
        "lambda_D_R1": (options.D_reg_every, "--D_reg_every above 0")}


def start_identity(options, folder):
    """Return {name: hash} of the weights that a training starts from; InputError for a file that is not there.

    A run that has a state of its own goes on without the flag, or where the file that it names is gone.
    """
    from common.files import file_hash
    from common.record import RECORD, read_record

    path, name = options.start_weights, "contents of start_weights"
    record = read_record(folder / RECORD) if (folder / RECORD).exists() and not options.overwrite else {}
    before = (record.get("options") or {}).get("start_weights")
    goes_on = (folder / "state.pth").exists() and (path is None or before == str(path) and not Path(path).exists())
    if goes_on:
        return {name: (record.get("derived") or {}).get(name)}
    return {name: None if path is None else file_hash(path)}


def open_images(options):
    """Return the PreparedImages that the flags name."""
    from common.datasets.prepared import open_prepared
    from common.images.squash import for_network

    transform = for_network(options.resolution, options.aspect_ratio, options.fit)
    images = open_prepared(options.data, "train", transform, options.data_dir, options.memory_gb,
                           limit=options.max_images)
    if options.pack is not None:
        images.open_pack(options.pack)
    return images


def inputs_of(options):
    """Return the paths that the flags name, None for a data set whose files are searched for."""
    from common.datasets import dataset_inputs

    places = [path for path in (options.start_weights, options.start_state, options.fid_weights) if path is not None]
    sets = [dataset_inputs(place) for place in (options.data, options.reference) if place is not None]
    return None if None in sets else [*places, *(path for named in sets for path in named)]


def rehearse(options, config, images, run):
    """Return (the line for --dry_run, its results): what would be trained, and how much memory it is expected to
    take."""
    from tools.train_blobgan.memory import expected_memory
    from tools.train_blobgan.parts import split_rows

    left = options.max_steps - (run.done if run else options.max_steps)
    rows = max(last - first for first, last in split_rows(options.batch_size, options.accumulate, options.stddev_rows))
    memory, one = expected_memory(config, options, rows), expected_memory(config, options, 1)
    console.say(f"{options.n_features} blobs, {config.resolution} x {config.columns}; parameters: "
                + ", ".join(f"{name} {count / 1e6:,.2f} million" for name, count in memory.parameters.items()))
    console.say(f"memory: {byte_count(memory.peak, 2)} expected with {rows:,} images at a time, "
                f"{byte_count(one.peak, 2)} with one")
    results = {"steps": left, "images": len(images), "parameters": memory.parameters, "memory_bytes": memory.peak,
               "memory_bytes_of_one_image": one.peak}
    return (f"would train {counted(left, 'step')} at batch size {options.batch_size} on {len(images):,} images into "
            f"{options.output_dir}", results)
