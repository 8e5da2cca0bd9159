"""The losses against formulas of the test's own; terms of weight 0 compute nothing."""

import numpy as np
import pytest
import torch

from common.blobs.perceptual import MapsDistance
from common.blobs.quality import Quality
from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.layout import Blobs
from common.networks.decision import open_decision_model
from tools.train_encoder.losses import Losses, Scene

pytestmark = pytest.mark.usefixtures("here")


class Counting:
    """Stands for a network: counts its calls."""

    def __init__(self):
        self.calls = 0

    def features(self, images):
        self.calls += 1
        return [images]

    def distance(self, first, second):
        return (first[0] - second[0]).abs().flatten(1).sum(dim=1)


def scene():
    gan = read_blobgan("gan.ckpt")
    latents = gan.layout_net.latent(torch.randn(2, 6, generator=torch.Generator().manual_seed(0)))
    blobs = gan.decode(latents)
    real = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return gan, Scene({"real": real, "fake": gan.render(blobs)}, latents, blobs)


def encoded(images):
    """Stand for an encoder: (N, 12) of pictures."""
    return images.flatten(1)[:, :12]


def matrices(raw):
    """Return covariances (..., 2, 2) of raw ones by the definition, in float64."""
    a, b = 1 / (1 + np.exp(-raw[..., 0])), 1 / (1 + np.exp(-raw[..., 1]))
    u = raw[..., 2:] / np.linalg.norm(raw[..., 2:], axis=-1, keepdims=True)
    v = np.stack([-u[..., 1], u[..., 0]], axis=-1)
    axes = 0.02 * np.sqrt(a / b), 0.02 * np.sqrt(b / a)
    outer = [axis[..., None, None] * vector[..., :, None] * vector[..., None, :] for axis, vector in zip(axes, (u, v))]
    return sum(outer) + 1e-5 * np.eye(2)


def test_each_term_is_the_mean_of_its_formula():
    gan, made = scene()
    weights = {"real_MSE": 2.0, "fake_MSE": 3.0, "fake_latents_MSE": 5.0, "fake_vector_MSE": 7.0, "real_lpips": 0.0}
    losses = Losses(weights, "l2")
    objective, values = losses(made, encoded, gan.decode, lambda blobs, sides: gan.render(blobs))
    found = dict(zip(losses.names, [float(value) / 2 for value in values]))
    expected, layouts = {}, {}
    for side, images in made.pictures.items():
        layouts[side] = gan.decode(encoded(images))
        error = gan.render(layouts[side]).numpy().astype(np.float64) - images.numpy()
        expected[f"{side}_MSE"] = (error**2).mean()
    parts = []
    for name, mine, true in zip(Blobs._fields, layouts["fake"], made.blobs):
        mine, true = (value.numpy().astype(np.float64) for value in (mine, true))
        mine, true = (matrices(mine), matrices(true)) if name == "covs" else (mine, true)
        parts.append(((mine - true) ** 2).mean())
    expected["fake_latents_MSE"] = np.mean(parts)
    expected["fake_vector_MSE"] = float((encoded(made.pictures["fake"]) - made.latents).square().mean())
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4)
    assert found["loss"] == pytest.approx(sum(weights[name] * value for name, value in expected.items()), rel=1e-5)
    assert float(objective) == float(values[0])


@pytest.mark.parametrize(("weights", "rendered", "encodes"), [
    ({"real_MSE": 1.0}, ["real"], 2), ({"fake_vector_MSE": 1.0}, None, 2), ({"fake_latents_MSE": 1.0}, None, 2),
    ({"fake_lpips": 1.0}, ["fake"], 2), ({"fake_latents_MSE": 1.0, "real_lpips": 1.0}, ["real"], 4),
    ({"real_MSE": 1.0, "fake_lpips": 1.0}, ["real", "fake"], 4)])
def test_what_no_term_needs_is_not_computed(weights, rendered, encodes):
    gan, made = scene()
    calls, perceptual = [], Counting()

    def encode(images):
        assert len(images) == encodes
        return encoded(images)

    def render(blobs, sides):
        calls.append(sides)
        assert len(blobs.xs) == 2 * len(sides)
        return gan.render(blobs)

    Losses(weights, "l1", perceptual)(made, encode, gan.decode, render)
    assert calls == ([rendered] if rendered else [])
    assert perceptual.calls == (2 if any("lpips" in name for name in weights) else 0)


def test_a_row_has_the_same_loss_in_any_batch():
    gan, made = scene()
    losses = Losses({"real_MSE": 1.0, "fake_MSE": 1.0, "real_lpips": 1.0, "fake_lpips": 1.0, "fake_latents_MSE": 1.0},
                    "l1", MapsDistance(open_decision_model("decision.tar")))
    whole = losses(made, encoded, gan.decode, lambda blobs, sides: gan.render(blobs))[1]
    parts = []
    for row in range(2):
        rows = slice(row, row + 1)
        part = Scene({side: images[rows] for side, images in made.pictures.items()}, made.latents[rows],
                     Blobs(*(tensor[rows] for tensor in made.blobs)))
        parts.append(losses(part, encoded, gan.decode, lambda blobs, sides: gan.render(blobs))[1])
    for one, *two in zip(whole, *parts):
        assert float(sum(two)) == pytest.approx(float(one), rel=1e-4)


def test_maps_have_unit_length_and_their_distance_is_two_minus_twice_the_cosine():
    model = open_decision_model("decision.tar")
    distance = MapsDistance(model)
    first, second = (torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in (0, 1))
    found = distance.distance(distance.features(first), distance.features(second))
    expected = sum((one.norm(dim=1).gt(0).float() + two.norm(dim=1).gt(0).float()
                    - 2 * torch.cosine_similarity(one, two, dim=1)).mean(dim=(1, 2))
                   for one, two in zip(model.maps(first), model.maps(second)))
    assert torch.allclose(found, expected, atol=1e-4)
    black = torch.full((1, 3, 16, 16), 1e-30, requires_grad=True)
    distance.distance(distance.features(black), distance.features(first[:1])).sum().backward()
    assert bool(black.grad.isfinite().all())


def test_agreement_counts_decisions_on_the_same_side_of_one_half():
    class Model:
        kind, names = "attributes", ("A", "B")

        def __call__(self, images):
            return images[:, 0, 0, :2]

    quality = Quality(decision=Model())
    real, other = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    real[:, 0, 0], other[:, 0, 0] = torch.tensor([[0.9, 0.1], [0.6, 0.7]]), torch.tensor([[0.8, 0.4], [0.2, 0.9]])
    quality.add(["b", "a"], real, other)
    quality.gather()
    assert list(quality.rows) == ["a", "b"]
    found = quality.summary()
    assert (found["agreement_A"], found["agreement_B"], found["agreement"], found["all_decisions_kept"]) == \
        (0.5, 1.0, 0.75, 0.5)
    assert found["l1"] == pytest.approx(float((real - other).abs().mean()), rel=1e-6)
