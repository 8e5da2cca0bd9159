"""Small experiments: a tree of outputs, a generator, an encoder and images with latents."""

import shutil

import numpy as np
import pytest
import torch

from common.networks.quantile_encoder import QuantileEncoderConfig, build_encoder
from common.networks.quantile_encoder_weights import save_quantile_encoder
from common.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from common.paths import ExperimentDir
from common.rcps.outputs import KEYS, LOWER, POINT, TRUTH, UPPER, write_outputs
from common.rcps.population import draw_images
from common.style_space import StyleStatistics

LEVELS, FACTORS = ("easy", "medium", "hard"), (1, 4, 8)


def make_outputs(path, seed=0, count=120, dims=40, scale=1.0, mean=0.5, **more):
    """Write an outputs.npz of known risk; the truth depends on `seed` alone."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(count, dims))
    errors, half = draw_images(np.random.default_rng(seed + 1), count, dims)
    point, arm = truth - scale * errors - mean, scale**0.5 * half
    arrays = {TRUTH: truth, POINT: point, LOWER: point - arm, UPPER: point + arm}
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = {"mean": np.full(dims, mean), "min": np.full(dims, -4.0), "max": np.full(dims, 4.0)}
    names = [f"img_{number:05d}.png" for number in range(count)]
    write_outputs(path, {key: [np.float32(arrays[key])] for key in KEYS}, count, dims,
                  **{"statistics": vectors, "image_names": names, "encoder": "abc", **more})
    return path


def make_tree(base):
    """Write an experiment {base}/exp with outputs of three levels at factors 1, 4 and 8."""
    tree = ExperimentDir(base, "exp")
    for factor, scale in zip(FACTORS, (0.85, 1.0, 1.25)):
        make_outputs(tree.outputs(factor), scale=scale, resize_factor=factor)
    return tree


@pytest.fixture(scope="session")
def outputs_made(tmp_path_factory):
    """The experiment that each `tree` is a copy of."""
    return make_tree(tmp_path_factory.mktemp("outputs"))


@pytest.fixture
def tree(tmp_path, outputs_made):
    """An experiment {tmp_path}/assets/exp with outputs of three levels at factors 1, 4 and 8."""
    shutil.copytree(outputs_made.root, tmp_path / "assets" / "exp")
    return ExperimentDir(tmp_path / "assets", "exp")


def words(tree, *more):
    """Return the flags that name an experiment of `tree`."""
    return ["--base_dir", str(tree.root.parent), "--exp_name", tree.root.name, "--resize_factors", "1,4,8", *more]


@pytest.fixture
def generator(tmp_path):
    """(path, network) of a random StyleGAN2 at 16 px whose StyleSpace has 40 numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = StyleGAN2(StyleGAN2Config((5, 5, 5), style_dim=6, num_mapping=2)).eval()
    path = tmp_path / "generator.pt"
    torch.save({"g_ema": network.state_dict(), "latent_avg": torch.zeros(6)}, path)
    return path, network


@pytest.fixture
def encoder(tree):
    """Path of a random encoder of 16 px pictures for 40 numbers, where the experiment has it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_encoder(QuantileEncoderConfig(40, ((16, 1), (16, 1)), 16))
    path = tree.model("models/superres_alpha_0.1.pt")
    path.parent.mkdir(parents=True)
    zeros = np.zeros(40, np.float32)
    save_quantile_encoder(path, network, StyleStatistics(zeros, zeros - 4, zeros + 4, None, 0))
    return path


@pytest.fixture
def images(tmp_path, generator):
    """A folder of four pictures of the generator with their latents."""
    from common.files import write_npz, write_png
    from common.images.pixels import rounded_bytes

    network, folder = generator[1], tmp_path / "images"
    folder.mkdir()
    with torch.no_grad():
        codes = network.style_vectors(network.wplus(network.mapping(torch.randn(
            4, 6, generator=torch.Generator().manual_seed(0)))))
        pictures = rounded_bytes(network.synthesise(codes))
    for number, (code, picture) in enumerate(zip(codes, pictures), 1):
        write_png(folder / f"img_{number:05d}.png", picture)
        write_npz(folder / f"latents_{number:05d}.npz", style_vectors=code[None].numpy())
    return folder
