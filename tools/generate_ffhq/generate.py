"""From flags to a job: the generator, the centre of truncation, what the record compares."""

import dataclasses
from contextlib import nullcontext
from dataclasses import dataclass

from common import console, parallel
from common.cli import Outcome
from tools.generate_ffhq import findings
from tools.generate_ffhq.draw import Generation
from tools.generate_ffhq.layout import Layout, show

MEAN_CODES = 4096  # of the centre of truncation


@dataclass
class Generator:
    """A generator ready to draw.

    network: StyleGAN2.  sha256: of its weights.  centre: (1 or num_latents, style_dim), of truncation.
    centre_from: where that comes from, in words.
    """

    network: object
    sha256: str
    centre: object
    centre_from: str


def generate(request):
    """Generate; results: num_images, first_index, factors, folders, sizes (px, by factor), image_size, num_dims,
    num_latents, generator (SHA-256 of its weights), centre, num_codes; images_per_second, verified where it applies."""
    from common.device import pick_device, set_precision
    from common.job import Job

    layout = Layout(request)
    options = dataclasses.replace(request, resize_factors=[str(factor) for factor in layout.factors])
    check_factors(options, layout)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    generator = open_generator(options, device)
    derived = {"generator": generator.sha256}
    if options.truncation != 1:
        derived["truncation centre"] = array_hash(generator.centre)
    if layout.kind == "separate":  # one folder for all factors
        derived["resize factors"] = layout.factors
    comparing = options.verify and not options.dry_run
    job = Job(layout.root, "generate_ffhq", options, request=request, derived=derived, inputs=[options.stylegan_path],
              extent={"resize_factors": layout.factors}, owns=layout.owns(), show=None if comparing else show,
              summary=findings.generate)
    job.says_up_to_date = not comparing  # the comparison goes on, and may say otherwise
    generation = Generation(options, layout, generator, device)
    with parallel.process_group(device.type) if comparing else nullcontext():
        outcome = job.run(generation.work, generation.rehearse, device)
        return _verified(outcome, generation, job) if comparing else outcome


def check_factors(options, layout):
    """Raise InputError for a factor that images of the encoder's size cannot be reduced by."""
    from common.datasets.degradations import check_factor

    for factor in layout.factors:
        if factor > 1:
            check_factor(factor, options.encoder_size, "resize_factors")


def open_generator(options, device):
    """Return the Generator of the flags, on a device. Raises InputError for a file of another kind."""
    import torch

    from common.formats.checkpoints import weights_hash
    from common.networks.stylegan2_weights import load_stylegan2
    from common.seeding import unit_generator
    from common.style_space import mean_latent

    file = load_stylegan2(options.stylegan_path, device)
    network, centre, centre_from = file.network, file.latent_avg, "latent_avg of the checkpoint"
    if centre is None or options.truncation_mean is not None:
        count = options.truncation_mean or MEAN_CODES
        codes = torch.randn(count, network.config.style_dim, generator=unit_generator(0, "latent mean"))
        centre, centre_from = mean_latent(network, codes).to(device), f"mean of {count:,} codes"
    return Generator(network, weights_hash(network), centre, centre_from)


def array_hash(tensor):
    """Return the hex SHA-256 of a tensor's values."""
    import hashlib

    return hashlib.sha256(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()


def _verified(outcome, generation, job):
    """Return the Outcome of a run whose images have been compared with what their latents give."""
    from tools.generate_ffhq.verify import verify

    try:
        count = verify(generation, job.finished)
    except BaseException:
        job.release()
        raise
    if not parallel.is_main():
        return outcome
    results = {**outcome.results, "verified": count}
    show(results)
    console.say(f"verified: {count:,} images are what their style vectors and their W+ codes give")
    earlier = job.finished  # which keeps its own results
    return Outcome(results, outcome.outputs, job) if earlier is None else Outcome(results, earlier["outputs"])
