"""What a new training starts from: weights of any BlobGAN checkpoint, or weights, moments and step of one of ours."""

from pathlib import Path

from common import console
from common.errors import InputError
from common.formats.checkpoints import is_safetensors, load_strictly, load_torch, unwrapped, unwrapped_state
from common.formats.lightning import load_lightning
from common.networks.blobgan.configuration import BlobGANConfig
from common.networks.blobgan.files import PAIRS, PairMissing, read_blobgan
from common.training.state import load_optimiser

ADVICE = "Use the flags of that training"
SAME = ("resolution", "aspect_ratio", "size_in", "mlp_lr_mul", "norm_features", "spatial_style", "ab_norm")
OTHER = "Start from its weights alone, with --start_weights or resume.model_only=true"


def load_weights(path, config, networks, averaged):
    """Load the weights of a checkpoint into the networks {generator, layout_net, discriminator} and their averages.

    config: BlobGANConfig of the training.  Where a file holds one of the pairs alone, as published ones may, both start
    from it; without a discriminator a new one is trained. Raises InputError for a file of other sizes, naming the first
    entry that differs, and for one whose weights stand for other pictures in this network.
    """
    pairs = {}
    for weights, names in PAIRS.items():
        try:
            model = read_blobgan(path, weights=weights)
        except PairMissing as error:
            missing = error
        else:
            _check_same(model.config, config, path)
            pairs[weights] = dict(zip(names, (model.generator, model.layout_net)))
    if not pairs:
        raise missing
    if len(pairs) < len(PAIRS):
        console.say(f"note: {missing.where} has {missing.what.partition(' (')[0]}: both start from the others")
    for weights, names in PAIRS.items():
        for name, source in zip(names, pairs.get(weights, next(iter(pairs.values()))).values()):
            _copy((networks | averaged)[name], source.state_dict(), path, name)
    stored = {} if is_safetensors(path) else _discriminator(path)
    if stored:
        _copy(networks["discriminator"], stored, path, "discriminator")
    else:
        console.say(f"note: {path} has no discriminator: a new one is trained")


def _check_same(stored, config, path):
    """Raise InputError where the same weights are another network: by what no shape of an entry shows."""
    for name in SAME:
        theirs, own = getattr(stored, name), getattr(config, name)
        if theirs != own:
            raise InputError(f"its {name} is {theirs}, that of this training {own}", where=path, do=ADVICE)


def _discriminator(path):
    """Return the state dict of a checkpoint's discriminator, {} where it has none."""
    found = load_lightning(path, lambda state: {name: value for name, value in state.items()
                                                if isinstance(name, str) and "discriminator." in name})
    return unwrapped_state(found["state_dict"], path, lambda name: unwrapped(name).partition("discriminator.")[2])


def _copy(network, state, path, name):
    try:
        load_strictly(network, state, path, do=ADVICE)
    except InputError as error:
        raise InputError(f"{name}: {error.what}", where=error.where, do=error.do) from error


def load_state(path, config, state, averaged):
    """Load weights, averages and moments of a checkpoint that train_blobgan wrote, or of a state.pth, into a
    training.

    config: BlobGANConfig of the training.  state: the TrainingState.  averaged: {name: network} whose parameters its
    averages are.
    Returns (step, what was stored beside a state or None).
    """
    if Path(path).suffix != ".ckpt":
        return state.load(path, ADVICE)
    try:
        stored = load_torch(path)
        step, moments, weights = stored["global_step"], stored["optimizer_states"], stored["state_dict"]
        values = stored["hyper_parameters"]
        complete = type(step) is int and len(moments) == len(state.optimisers)
        weights = {str(name): tensor for name, tensor in weights.items()}
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError("not a checkpoint that train_blobgan wrote", where=path, do=OTHER) from error
    if not complete:
        raise InputError("there are no moments in it", where=path, do=OTHER)
    _check_same(BlobGANConfig.from_hyper_parameters(values, path), config, path)
    for name, network in (state.networks | averaged).items():
        own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        _copy(network, own, path, name)
    updates = [_updates(stored_moments, step) for stored_moments in moments]
    for optimiser, stored_moments, count in zip(state.optimisers.values(), moments, updates):
        load_optimiser(optimiser, stored_moments, count, path, ADVICE)
    for average in state.averages.values():
        average.count = updates[0]
    return step, None


def _updates(moments, step):
    """Return how many updates an optimiser's stored state has seen: fewer than steps where some were skipped."""
    entries = moments.get("state") if isinstance(moments, dict) else None
    entry = next(iter(entries.values()), None) if isinstance(entries, dict) else None
    count = entry.get("step") if isinstance(entry, dict) else None
    try:
        return int(count)
    except (TypeError, ValueError, OverflowError):
        return step


def checked_extra(extra, path):
    """Return what a state has beside weights and moments; InputError for what a training here does not store."""
    try:
        total, in_a_row = map(int, extra["skipped"])
        return {"recent": [list(map(float, row)) for row in extra["recent"]], "skipped": [total, in_a_row],
                "last_r1": float(extra["last_r1"]), "right": int(extra["right"]),
                "scores": {int(step): None if score is None else float(score) for step, score in extra["scores"]},
                "checkpoints": [[int(step), None if score is None else float(score)]
                                for step, score in extra["checkpoints"]]}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError("its record of the steps is damaged", where=path, do="Restore it, or pass --overwrite to "
                         "start over") from error
