"""Opening a file as an explained model: decision models, DeepLabV3, TorchScript modules, torch.export programs."""

from common.errors import InputError
from common.explained.objective import CITYSCAPES, COMPARED, THRESHOLD, parse_objective
from common.formats.zips import open_zip

GIVE = "a decision model, a DeepLabV3 (model_state_dict), a TorchScript module or a torch.export program"


def open_explained(path, device="cpu", objectives=(), size=None, value_range="signed", output=None, class_names=(),
                   threshold=THRESHOLD, shape=None):
    """Return the Explained of a file on a device.

    objectives: words, see common.explained.objective; none: all attributes or classes of a decision model.
    size, value_range, output: of a program, see Program.  class_names: of its classes.  shape: (H, W) of the pictures
    that it will be given, on which a program is tried.
    Raises InputError for a missing, damaged or foreign file, and for a program that cannot be explained.
    """
    kind = kind_of(path)
    if kind == "checkpoint":
        from common.explained.segmentation import is_deeplab, open_deeplab
        from common.formats.checkpoints import is_safetensors
        from common.formats.lightning import load_container

        if not is_safetensors(path):
            value = load_container(path)
            if is_deeplab(value, path):
                parsed = _parsed(objectives, class_names or CITYSCAPES, threshold, path)
                return open_deeplab(path, value, device, parsed, size, value_range, output)
        return _open_decision(path, device, objectives, (size, output), value_range, threshold)
    parsed = _parsed(objectives, class_names, threshold, path)
    run, trial_size = _opened(path, kind, device)
    from common.explained.program import Program

    return Program(run, path, kind, parsed, size or trial_size, value_range, output,
                   trial_size or size or shape, device)


def open_pictures(path, device, shape, size=None, value_range="signed", output=None, flags="--",
                  check=lambda output, path: None):
    """Return the PictureProgram of a TorchScript module or torch.export program, after a trial.

    shape: (H, W) of the pictures that it will be given.  size, value_range, output, flags: see PictureProgram.
    check: of the output of the trial.
    Raises InputError for another file, and for a program that cannot be used.
    """
    from common.explained.pictures import PictureProgram

    kind = kind_of(path)
    if kind == "checkpoint":
        raise InputError("neither a TorchScript module nor a torch.export program", where=path,
                         do="Export the network, as docs/blobex_inv_cf.md shows")
    run, own_size = _opened(path, kind, device)
    program = PictureProgram(run, path, size or own_size, value_range, output, device, flags)
    program.trial(size or own_size or shape, lambda value: check(value, path))
    return program


def _opened(path, kind, device):
    """Return (function of pictures, (H, W) or None) of a program; nothing of it is trained."""
    if kind == "export":
        return _exported(path, device)
    import torch

    from common.formats.script_module import load_script

    module = load_script(path, device)
    for parameter in module.parameters():
        parameter.requires_grad = False
    kind = next((parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()), torch.float32)
    return (module if kind == torch.float32 else lambda images: module(images.to(kind))), None


def kind_of(path):
    """Return script, export or checkpoint, by a file's contents."""
    from common.files import system_errors

    with system_errors(path), open(path, "rb") as stream:
        is_zip = stream.read(2) == b"PK"
    if not is_zip:
        return "checkpoint"
    with open_zip(path, f"not {GIVE}") as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    if "models/model.json" in names:
        return "export"
    return "script" if any(name.startswith("code/") for name in names) else "checkpoint"


def _parsed(words, names, threshold, path):
    if not words:
        raise InputError("which objective?", where=path,
                         do="Pass --objective, such as class:5, attribute:2 or share:road@0.2,0.5,0.8,1")
    return _of_threshold([parse_objective(word, names, threshold) for word in words], threshold)


def _of_threshold(objectives, threshold):
    """Return objectives; InputError for one that is given twice, and for a threshold that none is compared with."""
    there = {}
    for each in objectives:
        key = each.kind, each.index, each.region
        if key in there:
            raise InputError(f"is the same as {there[key]}", where=f"--objective {each.word}", do="Give it once")
        there[key] = each.word
    if threshold != THRESHOLD and not any(each.kind in COMPARED for each in objectives):
        raise InputError(f"acts on the objectives {', '.join(COMPARED)}", where=f"--threshold {threshold:g}",
                         do="Leave it out")
    return objectives


def _open_decision(path, device, objectives, unused, value_range, threshold):
    from common.explained.classifier import Classifier
    from common.networks.decision import open_decision_model

    model = open_decision_model(path, device)
    if any(value is not None for value in unused) or value_range != "signed":
        raise InputError("a decision model has one output, and its pictures' size and range are its own",
                         where="--size, --output, --range", do="Leave them out")
    chosen = _of_threshold([parse_objective(word, model.names, threshold) for word in objectives], threshold)
    kinds = {"attribute": "attributes", "class": "classes"}
    wrong = next((each for each in chosen
                  if kinds.get(each.kind) != model.kind or each.index >= len(model.names)), None)
    if wrong is not None:
        raise InputError(f"the model has {len(model.names)} {model.kind}", where=f"--objective {wrong.word}",
                         do=f"Pass {'attribute' if model.kind == 'attributes' else 'class'}:NAME with one of "
                         f"{', '.join(model.names)}")
    return Classifier(model, path, [each.index for each in chosen] or None)


def _exported(path, device):
    """Return (function of pictures, (H, W) or None) of a torch.export program."""
    from common.formats.exported_program import ExportedProgram

    program = ExportedProgram(path, device, several=True)
    if len(program.input_shape) != 3 or program.input_shape[0] != 3:
        raise InputError(f"it takes inputs of {program.input_shape}, not images of three channels", where=path,
                         do="Export a program of pictures (batch, 3, H, W)")
    if program.batch[1] is not None and program.batch[0] == program.batch[1]:
        raise InputError(f"it was exported for batches of {program.batch[0]}", where=path,
                         do="Export it with dynamic_shapes=({0: torch.export.Dim('batch')},)")
    return program.differentiable, program.input_shape[1:]
