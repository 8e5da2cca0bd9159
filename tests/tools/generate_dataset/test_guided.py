"""Networks of guided-diffusion in the two commands that store activations."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from common.networks.adm_weights import load_adm
from tests.common.datasets.imagenet_files import write_batches
from tests.common.networks.guided_files import FLAGS, guided_state
from tests.tools.commands import call_tool, refusal_of, results_of

NETWORK = ("--checkpoint_path", "model.pt", "--device", "cpu", "--layers", "encoder_block_1,midblock")
GENERATE = ("generate_dataset", "--model", "imagenet", *NETWORK, "--num_samples", "3", "--method", "heun",
            "--num_steps", "3")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENPROBE_CACHE", "cache")
    torch.save(guided_state(), "model.pt")
    return tmp_path


def test_generated_images_and_activations_of_guided_diffusion(place):
    assert "--model_flags" in refusal_of(*GENERATE)
    results = results_of(*GENERATE, "--model_flags", FLAGS, "--input_mode", "clean", "--conditioning_sigma", "0.001")
    assert results["widths"] == {"encoder_block_1": 32 * 64, "midblock": 64 * 16}
    pictures = [np.asarray(Image.open(f"data/images/imagenet/sample_{i:06d}.png")) for i in range(3)]
    assert pictures[0].shape == (8, 8, 3)
    assert not np.array_equal(pictures[0], pictures[1])
    network = load_adm("model.pt", model_flags=FLAGS)
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    head = json.loads((place / "data/metadata/imagenet/dataset_info.json").read_text())
    labels = torch.eye(5)[[row["class_label"] for row in head["samples"]]]
    outputs = network.run(pixels, network.config.sigma_min, labels, layers=["midblock"], image=False)[1]
    stored = np.load("data/activations/imagenet/batch_000000.npz")["midblock"].reshape(3, 64, 4, 4)
    np.testing.assert_allclose(stored, outputs["midblock"], rtol=1e-4, atol=1e-4)
    line = refusal_of(*GENERATE, "--model_flags", FLAGS.replace("linear", "cosine"), "--input_mode", "clean",
                      "--conditioning_sigma", "0.001")
    assert "has model_flags" in line  # of another schedule is another network


def test_the_lowest_level_is_the_networks_own(place):
    write_batches(place / "npz")
    words = ("extract_real_imagenet", *NETWORK, "--npz_dir", "npz", "--num_samples", "4", "--label_mode", "none")
    ended = call_tool(*words, "--model_flags", FLAGS, "--conditioning_sigma", "0")
    assert ended.status == 0, ended.err
    assert "fed at the lowest level of the training, 0.01;" in ended.err
    info = json.loads((place / "data/metadata/imagenet_real/dataset_info.json").read_text())
    assert (info["conditioning_sigma"], info["sigma_fed"]) == (0.0, pytest.approx(0.01, rel=1e-4))


