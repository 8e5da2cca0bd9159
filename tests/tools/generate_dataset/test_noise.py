"""--noise edm and dmd2: the pictures that the originals draw from a seed, on a processor."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from common.diffusion.edm_sampling import Sampling
from common.networks.adm_weights import load_adm
from tests.tools.activation_networks import contents, save_network
from tests.tools.commands import refusal_of, results_of

TOOL = ("generate_dataset", "--model", "imagenet", "--checkpoint_path", "network.safetensors", "--device", "cpu")
HEUN = ("--method", "heun", "--num_steps", "3", "--sigma_max", "20", "--sigma_min", "0.01", "--to_uint8", "edm")


@pytest.fixture(autouse=True)
def network(own_folder):
    save_network(own_folder / "network.safetensors")
    return load_adm("network.safetensors")


def made(*words, out="data"):
    """Generate; returns (pictures, classes)."""
    results_of(*TOOL, "--batch_size", "4", "--output_dir", out, *words)
    with open(f"{out}/metadata/imagenet/dataset_info.json", encoding="utf-8") as stream:
        samples = json.load(stream)["samples"]
    pictures = [np.asarray(Image.open(f"{out}/{sample['image_path']}")) for sample in samples]
    return np.stack(pictures).astype(int), [sample["class_label"] for sample in samples]


def heun_of_edm(network, seeds, churn, classes=None):
    """Return (pictures, classes) of EDM's generate.py, written plainly: one image after the other."""
    sigmas, images, labels = Sampling("heun", 3, 20.0, 0.01).sigmas(network.config), [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(network.image_shape, generator=generator)[None].double() * sigmas[0]
        labels.append(int(torch.randint(4, size=[], generator=generator)))
        label = torch.eye(4)[[labels[-1] if classes is None else classes]]
        for sigma, after in zip(sigmas[:-1], sigmas[1:]):
            hat = sigma * (1 + min(churn / 3, math.sqrt(2) - 1))
            noise = torch.randn(network.image_shape, generator=generator, dtype=torch.float64)[None]
            x_hat = x + math.sqrt(hat**2 - sigma**2) * noise
            slope = (x_hat - network(x_hat.float(), hat, label).double()) / hat
            x = x_hat + (after - hat) * slope
            if after > 0:
                second = (x - network(x.float(), after, label).double()) / after
                x = x_hat + (after - hat) * (slope + second) / 2
        images.append(x)
    pixels = (torch.cat(images) * 127.5 + 128).clip(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return pixels.numpy().astype(int), labels


@pytest.mark.parametrize("churn", [0, 1.0])
@torch.no_grad()
def test_edms_seeds_give_edms_images(network, churn):
    pictures, classes = made("--num_samples", "6", "--seed", "3", "--noise", "edm", *HEUN, "--S_churn", churn)
    expected, drawn = heun_of_edm(network, range(3, 9), churn)
    assert classes == drawn
    assert np.abs(pictures - expected).max() <= 1
    assert (pictures != expected).mean() < 0.02
    pictures, _ = made("--num_samples", "2", "--seed", "3", "--noise", "edm", *HEUN, "--S_churn", churn,
                       "--target_classes", "2", out="chosen")
    assert np.abs(pictures - heun_of_edm(network, (3, 4), churn, 2)[0]).max() <= 1


@torch.no_grad()
def test_dmd2s_stream_gives_dmd2s_images_at_any_batch_size(network):
    pictures, classes = made("--num_samples", "7", "--noise", "dmd2", "--samples_per_class", "1")
    generator, expected = torch.Generator().manual_seed(10), []
    for first, count in ((0, 3), (3, 3), (6, 1)):  # a batch after the other
        noise = torch.randn(count, *network.image_shape, generator=generator)
        labels = torch.eye(4)[torch.arange(first, first + count) % 4]
        expected.append(((network(80 * noise, 80.0, labels) + 1) * 127.5).clamp(0, 255).to(torch.uint8))
    assert classes == [0, 1, 2, 3, 0, 1, 2]
    assert np.abs(pictures - torch.cat(expected).permute(0, 2, 3, 1).numpy()).max() <= 1


@pytest.mark.parametrize("noise", ["edm", "dmd2"])
def test_a_set_with_the_originals_noise_grows_and_knows_its_noise(own_folder, noise):
    made("--num_samples", "5", "--noise", noise)
    made("--num_samples", "9", "--noise", noise)
    made("--num_samples", "9", "--noise", noise, out="once")
    assert contents(own_folder / "data") == contents(own_folder / "once")
    assert f"have noise {noise}" in refusal_of(*TOOL, "--num_samples", "9")


@pytest.mark.parametrize("words", [("--noise", "dmd2", *HEUN, "--S_churn", "1"),
                                   ("--noise", "edm", "--method", "fewstep", "--num_steps", "2"),
                                   ("--noise", "dmd2", "--method", "multistep", "--num_steps", "2")])
def test_noise_that_the_originals_draw_otherwise_is_refused(words):
    assert "draws noise after the start" in refusal_of(*TOOL, *words)


def test_samplers_without_further_noise_take_either():
    for noise in ("edm", "dmd2"):
        made("--num_samples", "2", "--noise", noise, "--method", "multistep", "--num_steps", "2", "--eta", "0",
             out=noise)
