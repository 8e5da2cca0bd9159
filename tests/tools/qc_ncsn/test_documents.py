"""The commands of the users' documents run to their end, word for word, on a tiny network and stand-in CIFAR-10."""

import numpy as np
import pytest

from common.files import read_json, write_npz
from common.formats.checkpoints import load_torch, save_torch
from common.score import config
from tests.tools.commands import call_tool
from tests.tools.test_document_commands import commands, translated

LINES = [line for line in commands() if (found := translated(line)) and found[0] == "qc_ncsn"]
STEPS = {"u": (0, 1), "qc": (700000, 700000), "c": (0, 1)}
NETWORK = {"nf": 4, "ch_mult": (1, 1), "num_res_blocks": 1, "attn_resolutions": (), "fourier_scale": 0.1,
           "sigma_min": 1.0, "sigma_max": 2.0}


def write_cifar(folder):
    """Write CIFAR-10's binary batches of 4 images each."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3073), np.uint8)
    pixels[..., 0] %= 10
    for number, name in enumerate((*(f"data_batch_{batch}" for batch in range(1, 6)), "test_batch")):
        (folder / f"{name}.bin").write_bytes(pixels[number].tobytes())


@pytest.fixture
def place(own_folder, monkeypatch):
    """A folder with data/, and checkpoint.pth as published: weights, EMA and optimiser of a U-NCSN++, no step."""
    monkeypatch.setattr(config, "BASE", {**config.BASE, "model": {**config.BASE["model"], **NETWORK}})
    changes = {**config.BY_DATASET["cifar10"], "steps": STEPS, "eval": {"num_samples": 40, "noise_levels": 3},
               "sampling": {"num_scales": 2}, "training": {"snapshot_sampling": False, "snapshot_nll": False}}
    monkeypatch.setitem(config.BY_DATASET, "cifar10", changes)
    write_cifar(own_folder / "data" / "cifar-10-batches-bin")
    ended = call_tool("qc_ncsn", "train", "--config", "u_cifar10", "--bs", "2", "--workdir", "./u", "--quiet")
    assert ended.status == 0, ended.err
    state = load_torch(own_folder / "u" / "checkpoints-meta" / "checkpoint.pth")
    save_torch(own_folder / "checkpoint.pth", {name: state[name] for name in ("model", "ema", "optimizer")})
    return own_folder


def test_the_documents_commands_run_to_their_end(place, rough_figures):
    assert len(LINES) == 12
    for line in LINES:
        tool, subcommand, _, _, words = translated(line)
        ended = call_tool(tool, *subcommand, *words)
        assert ended.status == 0, (line, ended.err)
        assert "internal" not in ended.err
    first, second = (place / "results" / f"qc_fac=1e-4_bs={name}" for name in ("8_slice=16", "128_slice=1"))
    for work, slices in ((first, 16), (second, 1)):
        record = read_json(work / "run.json")
        assert (record["results"]["step"], record["derived"]["loss.slices"]) == (700000, slices)
        assert (work / "checkpoints" / "checkpoint_70.pth").exists()
    assert read_json(first / "nll" / "run.json")["results"]["num_images"] == 4
    assert len(read_json(first / "asym" / "run.json")["results"]["asym_by_level"]) == 3
    assert read_json(second / "eval_sampling" / "0" / "run.json")["results"]["method"] == "pc"
    assert read_json(second / "eval_sampling_ode" / "0" / "run.json")["results"]["method"] == "ode"
    assert read_json(second / "stat" / "run.json")["results"]["num_dataset"] == 20
    assert read_json(second / "eval_fidis" / "run.json")["results"]["frechet_distance"] > 0
    assert 0 <= read_json(second / "eval_prdc" / "run.json")["results"]["coverage"] <= 1


def test_fidis_after_the_data_set_is_encoded_takes_the_same_reference_again(place):
    work = place / "results" / "w"
    for name in ("generated", "dataset"):
        features = np.random.default_rng(len(name)).standard_normal((20, 4)).astype(np.float32)
        write_npz(work / "stat" / f"{name}_stat.npz", pool_3=features, features=np.array("small-features-v1"))
    for more in ((), ("--encode_dataset",), ()):
        ended = call_tool("qc_ncsn", "eval", "fidis", "--workdir", "w", "--config", "qc_cifar10", "--bs", "2500", *more)
        assert ended.status == 0, ended.err
