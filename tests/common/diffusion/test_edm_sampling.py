"""Sampling from networks by seed and image number, guidance, replaced layers, classes."""

import numpy as np
import pytest
import torch

from common.diffusion.denoiser import Denoiser
from common.diffusion.edm_sampling import Sampling, sample
from common.diffusion.labels import class_sequence, class_vectors
from common.errors import InputError
from tests.common.networks.adm_makers import draws, small_network

METHODS = [Sampling(), Sampling("fewstep", 3), Sampling("fewstep", 3, guidance=1.5), Sampling("heun", 4, 20.0, 0.01),
           Sampling("heun", 4, S_churn=40, S_min=0.05, S_max=50, S_noise=1.003),
           Sampling("multistep", 5, 20.0, 0.01), Sampling("multistep", 5, 20.0, 0.01, eta=0.0, guidance=1.5)]


@pytest.mark.parametrize("sampling", METHODS)
def test_an_image_depends_on_seed_and_number_alone(sampling):
    network, classes = small_network(), [0, 1, 2, 3, 0]
    whole = sample(network, sampling, 7, range(5), classes)
    assert whole.shape == (5, 3, 8, 8)
    assert whole.dtype == torch.float32
    for rows in ([3], [4, 1]):
        part = sample(network, sampling, 7, rows, [classes[row] for row in rows])
        torch.testing.assert_close(part, whole[rows], rtol=1e-3, atol=1e-4)
    assert torch.equal(sample(network, sampling, 7, range(5), classes), whole)
    assert not torch.allclose(sample(network, sampling, 8, range(5), classes), whole, atol=1e-2)


def test_all_methods_start_from_the_same_noise():
    network = small_network()
    one = sample(network, Sampling(), 0, [4], [1])
    steps = []
    sample(network, Sampling("fewstep", 3), 0, [4], [1], advance=lambda: steps.append(1))
    assert len(steps) == 3
    for method in ("fewstep", "multistep"):
        assert torch.equal(sample(network, Sampling(method, 1), 0, [4], [1]), one)
    torch.testing.assert_close(sample(network, Sampling("heun", 1), 0, [4], [1]), one, rtol=1e-4, atol=1e-5)


def test_limits_of_the_network_limit_the_levels():
    config = small_network(sigma_min=0.01, sigma_max=20.0).config
    sigmas = Sampling("heun", 5).sigmas(config)
    assert (sigmas[0], sigmas[-1], len(sigmas)) == (pytest.approx(20), 0, 6)
    assert sigmas[-2] == pytest.approx(0.01)
    assert Sampling().sigmas(config) == [20.0, 0.0]
    assert len(Sampling("fewstep", 4).sigmas(config)) == 5


@pytest.mark.parametrize(("sampling", "calls"), [
    (Sampling(), 1), (Sampling("fewstep", 4), 4), (Sampling("heun", 10), 19), (Sampling("heun", 10, guidance=2), 38),
    (Sampling("multistep", 10), 10), (Sampling("multistep", 10, guidance=0), 10)])
def test_the_calls_that_are_named_are_made(sampling, calls, monkeypatch):
    network, made = small_network(), []
    monkeypatch.setattr(network, "run", lambda x, *rest, **more: made.append(1) or (x * 0, {}))
    sample(network, sampling, 0, [0, 1], [0, 1])
    assert len(made) == sampling.calls == calls


@torch.no_grad()
def test_guidance_mixes_the_two_predictions():
    network = small_network()
    x, sigma, labels = draws(network)
    with_class, free = network(x, sigma, labels), network(x, sigma)
    assert torch.equal(Denoiser(network, labels)(x, sigma), with_class)
    assert torch.equal(Denoiser(network, labels, 0.0)(x, sigma), free)
    torch.testing.assert_close(Denoiser(network, labels, 1.8)(x, sigma), free + 1.8 * (with_class - free))
    torch.testing.assert_close(Denoiser(network, labels, -1.0)(x, sigma), 2 * free - with_class)
    assert torch.equal(Denoiser(network, None, 3.0)(x, sigma), free)


def test_replaced_layers_reach_every_step():
    network = small_network()
    mask = torch.zeros(1, 64, 4, 4)
    plain, masked = (sample(network, Sampling("heun", 3), 0, [0, 1], [0, 1], replace=how)
                     for how in (None, {"midblock": mask}))
    assert not torch.allclose(plain, masked, atol=1e-2)


def test_settings_that_make_no_sense_are_named():
    network = small_network()
    for sampling, message in ((Sampling("euler"), "method euler"), (Sampling("heun", 0), "num_steps 0"),
                              (Sampling("heun", sigma_min=0.0), "sigma_min 0.0"),
                              (Sampling("heun", 2, 1.0, 2.0), "sigma_min 2.0"),
                              (Sampling(sigma_max=0.0), "sigma_max 0.0"),
                              (Sampling("heun", S_churn=-1), "S_churn -1"),
                              (Sampling("multistep", eta=-1.0), "eta -1.0")):
        with pytest.raises(InputError, match=message):
            sample(network, sampling, 0, [0], [0])
    with pytest.raises(InputError, match="the network is unconditional"):
        sample(small_network(label_dim=0), Sampling(guidance=2.0), 0, [0])


def test_samples_that_are_not_finite_are_an_error():
    network = small_network()
    with torch.no_grad():
        network.model.out_conv.bias.fill_(float("inf"))
    with pytest.raises(InputError, match="not finite"):
        sample(network, Sampling(), 0, [0], [0])


def test_class_vectors_are_one_hot_or_uniform():
    assert class_vectors([2, -1], 4).tolist() == [[0, 0, 1, 0], [0.25] * 4]
    assert class_vectors([0], 0) is None
    for wrong in (4, -2):
        with pytest.raises(InputError, match=f"class {wrong} is out of range"):
            class_vectors([0, wrong], 4)


def test_class_sequences_are_the_originals():
    expected = [265, 125, 996, 527, 320, 369, 123]
    assert class_sequence(10, 7, 1000).tolist() == np.random.RandomState(10).randint(0, 1000, 7).tolist() == expected
    assert class_sequence(10, 3, 1000).tolist() == [265, 125, 996]
    assert class_sequence(0, 7, 3, samples_per_class=2).tolist() == [0, 0, 1, 1, 2, 2, 0]
