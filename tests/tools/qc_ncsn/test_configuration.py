"""Every entry of a configuration acts in the command that it belongs to, or is refused."""

import hashlib
import re

import numpy as np
import pytest

from common.errors import InputError
from common.formats.checkpoints import load_torch
from common.score.config import BASE, FIXED, override, preset
from common.score.models import build_network
from common.score.ranges import CHOICES, RANGES, check_config
from tests.tools.qc_ncsn.runs import call, good, log_rows
from tools.qc_ncsn.train.run import ScoreTraining

SMALL = ("--config", "u_digits", "--device", "cpu", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()")
TRAIN = ("train", *SMALL, "--config.training.batch_size=2", "--config.training.log_freq=1",
         "--config.training.n_iters=2", "--config.training.snapshot_freq=2")
SNAPSHOT = ("training.snapshot_sampling=true", "sampling.num_scales=2")
SAMPLE = ("sample", "--config.eval.num_samples=2", "--config.sampling.num_scales=3", "--device", "cpu")
MULTISTEP = ("sampling.method=multistep", "sampling.num_steps=4")
NLL = ("eval", "nll", "--num_images", "2", "--rtol", "0.5", "--atol", "0.5", "--device", "cpu")
ASYM = ("eval", "asym", "--num_images", "2", "--config.eval.noise_levels=2", "--device", "cpu")
QC = ("loss.balancing_fac=1",)

ACTS = {  # entry: (another value, command, entries that both runs have)
    "training.batch_size": (3, TRAIN), "training.n_iters": (1, TRAIN), "training.init_step": (1, TRAIN),
    "training.snapshot_freq": (1, TRAIN), "training.snapshot_freq_for_preemption": (1, TRAIN),
    "training.log_freq": (2, TRAIN), "training.likelihood_weighting": ("true", TRAIN),
    "training.snapshot_sampling": ("true", TRAIN, SNAPSHOT[1:]), "training.snapshot_nll": ("true", TRAIN),
    "training.snapshot_metric": (2, TRAIN, ("sampling.num_steps=2",)),
    "sampling.batch_size": (2, TRAIN, SNAPSHOT),
    "sampling.method": ("heun", SAMPLE, MULTISTEP[1:]), "sampling.predictor": ("ancestral_sampling", SAMPLE),
    "sampling.corrector": ("ald", SAMPLE), "sampling.n_steps_each": (2, SAMPLE), "sampling.snr": (0.3, SAMPLE),
    "sampling.noise_removal": ("false", SAMPLE, ("sampling.last_step_snr=20",)),
    "sampling.probability_flow": ("true", SAMPLE),
    "sampling.last_step_snr": (20, SAMPLE, ("sampling.noise_removal=false",)), "sampling.num_scales": (4, SAMPLE),
    "sampling.rtol": (0.5, SAMPLE, ("sampling.method=ode",)),
    "sampling.atol": (0.5, SAMPLE, ("sampling.method=ode", "sampling.rtol=0.1")),
    "sampling.num_steps": (3, SAMPLE, MULTISTEP), "sampling.sigma_max": (2, SAMPLE, MULTISTEP),
    "sampling.rho": (2, SAMPLE, MULTISTEP), "sampling.eta": (0, SAMPLE, MULTISTEP),
    "eval.num_samples": (3, SAMPLE), "eval.batch_size": (1, NLL), "eval.total_repeat": (2, NLL),
    "eval.noise_levels": (3, ASYM),
    "data.dataset": ("own.npz", TRAIN), "data.image_size": (4, TRAIN), "data.num_channels": (3, TRAIN),
    "data.random_flip": ("true", TRAIN),
    "model.sigma_min": (0.1, TRAIN), "model.sigma_max": (10, TRAIN), "model.num_scales": (7, TRAIN),
    "model.nf": (8, TRAIN), "model.ch_mult": ("1,1", TRAIN), "model.num_res_blocks": (2, TRAIN),
    "model.attn_resolutions": (8, TRAIN), "model.dropout": (0.5, TRAIN, ("model.init_scale=1",)),
    "model.fourier_scale": (16, TRAIN), "model.ema_rate": (0.2, TRAIN), "model.init_scale": (1, TRAIN),
    "model.energy": ("true", TRAIN),
    "optim.lr": (1, TRAIN), "optim.beta1": (0.1, TRAIN, ("optim.warmup=0",)), "optim.beta2": (0.1, TRAIN),
    "optim.eps": (1, TRAIN), "optim.weight_decay": (10, TRAIN), "optim.warmup": (0, TRAIN),
    "optim.grad_clip": (1e-4, TRAIN), "optim.schedule": ("cosine", TRAIN),
    "loss.balancing_fac": (1, TRAIN), "loss.slices": (2, TRAIN, QC), "loss.reg_weight": ("sigma4", TRAIN, QC),
    "loss.slice_masks": ("separate", TRAIN, ("model.dropout=0.5", "model.init_scale=1", "loss.slices=2", *QC)),
}
ENTRIES = {f"{section}.{key}": BASE[section][key] for section in BASE if section != "seed" for key in BASE[section]}
FIXED_ENTRIES = {f"{section}.{key}" for section in FIXED for key in FIXED[section]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained network, a data set, and the outcomes of the commands without the entry."""
    folder = tmp_path_factory.mktemp("entries")
    good(*TRAIN, "--config.optim.warmup=0", "--config.model.init_scale=1", "--workdir", folder / "trained")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8)
    np.savez(folder / "own.npz", images=pixels)
    return folder, {}


def digest(values):
    """Return a hash of arrays and tensors."""
    state = hashlib.sha256()
    for value in values:
        state.update(np.ascontiguousarray(value).tobytes())
    return state.hexdigest()


def outcome(folder, work, words, saved):
    """Run a command and return all that an entry may shape: files, arrays, weights, logged numbers, steps saved."""
    if words[0] == "train":
        good(*words, "--workdir", work)
        state = load_torch(work / "checkpoints-meta" / "checkpoint.pth")
        tensors = [*state["model"].values(), *state["ema"]["shadow_params"]]
        arrays = [np.load(path) for path in sorted(work.rglob("sample.np"))]
        return [digest(tensors), digest(arrays), log_rows(work), list(saved),
                sorted(path.name for path in work.rglob("*.p*")), "nll" in (work / "stdout.txt").read_text()]
    results = good(*words, "--checkpoint", folder / "trained" / "checkpoints" / "checkpoint_1.pth", "--workdir", work)
    arrays = [np.load(path) for path in sorted(work.rglob("*.npz"))]
    return [{name: value for name, value in results.items() if name not in ("images_per_second", "method")},
            [digest(part[name] for name in part.files if name != "made_by") for part in arrays]]


@pytest.mark.parametrize("entry", ACTS)
def test_Q4_an_entry_acts(entry, place, tmp_path, monkeypatch, rough_figures):
    (folder, known), (value, command, *context) = place, ACTS[entry]
    words = (*command, *(f"--config.{word}" for word in (context[0] if context else ())))
    saved, save = [], ScoreTraining._save
    monkeypatch.setattr(ScoreTraining, "_save", lambda run, path, step: (saved.append(step), save(run, path, step)))
    if words not in known:
        known[words] = outcome(folder, folder / f"without_{len(known)}", words, saved)
        saved.clear()
    value = folder / value if value == "own.npz" else value
    assert outcome(folder, tmp_path / "with", (*words, f"--config.{entry}={value}"), saved) != known[words]


def test_Q4_every_entry_is_tried_or_has_one_value():
    assert set(ACTS) | FIXED_ENTRIES == set(ENTRIES)
    assert not set(ACTS) & FIXED_ENTRIES
    assert set(ENTRIES) == FIXED_ENTRIES | set(RANGES) | set(CHOICES) | {
        name for name, value in ENTRIES.items() if isinstance(value, bool)} | {"data.dataset"}


@pytest.mark.parametrize("entry", sorted(FIXED_ENTRIES))
def test_Q4_an_entry_of_one_value_has_no_other(entry):
    ours = ENTRIES[entry]
    other = {bool: not ours, int: 5, tuple: "1,2,1", str: "other"}[type(ours)]
    with pytest.raises(InputError, match="is supported"):
        override(preset("u_digits"), [f"{entry}={other}"])


OUTSIDE = [(name, value) for name, bounds in RANGES.items()
           for value in ("nan", "inf", bounds.low - 1, bounds.high * 2)
           if not isinstance(ENTRIES[name], (int, tuple)) or value not in ("nan", "inf")]


@pytest.mark.parametrize(("entry", "value"), [(name, value) for name, value in OUTSIDE if abs(float(value)) != np.inf])
def test_Q4_a_number_out_of_range_is_refused_by_name(entry, value):
    text = int(value) if isinstance(ENTRIES[entry], (int, tuple)) else value
    with pytest.raises(InputError, match=entry if entry not in ("training.batch_size", "training.n_iters",
                                                                "loss.balancing_fac", "loss.slices") else "--"):
        check_config(override(preset("u_digits"), [f"{entry}={text}"]))


@pytest.mark.parametrize("entry", [name for name, value in ENTRIES.items() if isinstance(value, float)])
def test_Q4_infinity_is_refused_by_name(entry):
    with pytest.raises(InputError):
        check_config(override(preset("u_digits"), [f"{entry}=inf"]))


@pytest.mark.parametrize(("entries", "what"), [
    (["model.nf=72", "model.ch_mult=1"], "--config.model.nf=72: a layer would have 144 channels"),
    (["model.nf=48", "model.ch_mult=1,3"], "144 channels"), (["model.ch_mult=1,9", "model.nf=4"], None),
    (["model.nf=96", "model.ch_mult=1,2"], None), (["optim.grad_clip=0"], "makes every update 0"),
    (["model.sigma_min=1e-320"], "at least 1e-30"), (["optim.eps=1e-320"], "at least 1e-30"),
    (["optim.lr=1e300"], "at most "),
])
def test_Q4_what_no_network_or_step_could_do_is_refused_before_it_begins(entries, what):
    """As the entries' own ranges do: channels that group norm cannot divide, and numbers that float32 has not."""
    config = override(preset("u_digits"), entries)
    if what is None:
        build_network(check_config(config))
        return
    with pytest.raises(InputError, match=re.escape(what)):
        check_config(config)


def test_Q4_an_entry_that_a_command_does_not_use_is_noted(place, tmp_path):
    checkpoint = place[0] / "trained" / "checkpoints" / "checkpoint_1.pth"
    ended = call(*SAMPLE, "--checkpoint", checkpoint, "--workdir", tmp_path / "w", "--config.optim.lr=3",
                 "--config.model.dropout=0.5")
    assert "note: qc_ncsn sample does not use --config.optim.lr" in ended.err
    assert "does not use --config.model.dropout" in ended.err
    assert "--config.sampling" not in ended.err
