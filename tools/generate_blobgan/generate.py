"""From flags to a job: the checkpoint, the layouts that are given, what the record compares."""

import dataclasses
import hashlib
from pathlib import Path

from common import console, parallel
from common.effects import check_effects
from common.errors import InputError
from common.options import is_given
from tools.generate_blobgan import findings
from tools.generate_blobgan.draw import FOLDERS, Generation

ADDRESS = "http://efrosgans.eecs.berkeley.edu/blobgan"
PUBLISHED = {"bed_no_jitter": "bedrooms93.ckpt", "bed": "bedrooms.ckpt",  # by the beginning of --model_data
             "kitchen": "kitchen_living_dining.ckpt", "conference": "conference_rooms.ckpt"}
OF_DRAWING = {"n_imgs": "-n", "truncate": "-t", "seed": "--seed"}  # meaningless where layouts are given


def generate(request):
    """Generate; results: num_images, image_size (height, width), num_blobs, folders, generator (SHA-256 of its
    weights), weights, step, noise; images_per_second where images were made."""
    from common.device import pick_device, set_precision
    from common.formats.checkpoints import weights_hash
    from common.job import Job
    from common.networks.blobgan.files import read_blobgan

    options = settle(request)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    model = read_blobgan(options.checkpoint, device, options.weights, "--weights")
    derived, inputs = {"generator": weights_hash(model)}, [options.checkpoint]
    layouts = read_given(options, model) if options.layouts else None
    if layouts:
        options = dataclasses.replace(options, n_imgs=len(layouts))
        derived["layouts"] = content_hash(layouts)
        inputs.append(options.layouts)
    derived |= {"colours of the blobs": options.palette} if options.save_blobs else {}
    derived |= {"threshold of the labels": options.size_threshold} if options.label_blobs else {}
    saved = {name: getattr(options, name) for name in FOLDERS.values() if name}
    generation = Generation(options, model, layouts, derived["generator"], device)
    job = Job(options.save_dir, "generate_blobgan", options, request=request, derived=derived, inputs=inputs,
              extent=saved, owns=generation.owns(), show=show, summary=findings.generate)
    return job.run(generation.work, generation.rehearse, device)


def settle(options):
    """Return the options with the checkpoint and the palette found. Raises InputError for flags in conflict."""
    if options.model_name != "blobgan":
        raise InputError("only BlobGAN's images are made here", where=f"--model_name {options.model_name}",
                         do="Use generate_ffhq, which makes a StyleGAN2's images, or leave it out")
    check_effects(options, {"label_blobs": (options.save_blobs, "--save_blobs"),
                            "size_threshold": (options.label_blobs, "--label_blobs"),
                            "palette": (options.save_blobs, "--save_blobs"),
                            "dl_dir": (options.model_data is not None, "--model_data")})
    for name, flag in OF_DRAWING.items() if options.layouts else ():
        if is_given(options, name):
            raise InputError("acts on images that are drawn, not on --layouts", where=flag, do="Leave it out")
    rooms = str(options.model_data).startswith(("bed", "conference"))
    palette = options.palette if options.palette != "auto" else "bed_conf" if rooms else "kld"
    return dataclasses.replace(options, checkpoint=find_checkpoint(options), palette=palette)


def find_checkpoint(options):
    """Return the path of the checkpoint: the one named, or the published one of --model_data in --dl_dir."""
    if options.checkpoint and options.model_data:
        raise InputError("names a published checkpoint, and another one is given", where="--model_data",
                         do="Pass one of them")
    if options.checkpoint:
        return options.checkpoint
    if not options.model_data:
        raise InputError("missing", where="CHECKPOINT", do="Name a BlobGAN checkpoint, such as "
                         "checkpoints/blobgan_256x512.ckpt")
    file = next((file for start, file in PUBLISHED.items() if options.model_data.startswith(start)), None)
    if file is None:
        raise InputError(f"no published model of this name (known: {', '.join(PUBLISHED)})",
                         where=f"--model_data {options.model_data}", do="Correct it, or name the file itself")
    path = Path(options.dl_dir) / file
    if not path.exists():
        raise InputError("not there, and nothing is downloaded", where=path,
                         do=f"Get it from {ADDRESS}/{file}, or name another file")
    return str(path)


def read_given(options, model):
    """Return the StoredLayouts of --layouts; InputError for those of another network."""
    from common.networks.blobgan.layout_files import read_layouts

    layouts, place = read_layouts(options.layouts), Path(options.layouts).resolve()
    if {place, *place.parents} & {(Path(options.save_dir) / folder).resolve() for folder in FOLDERS}:
        raise InputError("this input lies among the outputs", where=options.layouts, do="Choose another output folder")
    expected, count = (model.config.feature_dim, model.config.dim), layouts[0].blobs.xs.shape[1]
    for layout in layouts:
        widths = layout.blobs.features.shape[2], layout.blobs.spatial_style.shape[2]
        if layout.blobs.xs.shape[1] != count:
            raise InputError(f"layout '{layout.name}' has {layout.blobs.xs.shape[1]} blobs, the first one {count}",
                             where=options.layouts, do="Give layouts of one number of blobs")
        if widths != expected:
            raise InputError(f"layout '{layout.name}' has features and styles of width {widths[0]} and {widths[1]}, "
                             f"the network takes {expected[0]} and {expected[1]}", where=options.layouts,
                             do="Give layouts of this network")
        if options.fixed_spatial_noise:
            layout.draw = None
    return layouts


def content_hash(layouts):
    """Return the hex SHA-256 of StoredLayouts: their names, noise and numbers."""
    digest = hashlib.sha256()
    for layout in layouts:
        digest.update(f"{layout.name} {layout.draw}\n".encode())
        for tensor in layout.blobs:
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def show(results):
    """Print where the images are, and what comes next."""
    rows = [[folder, f"{results['num_images']:,}"] for folder in results["folders"]]
    height, width = results["image_size"]
    console.show_table(f"Images of {height} x {width} px, {results['num_blobs']} blobs ({results['weights']} weights)",
                       ["folder", "files"], rows)
