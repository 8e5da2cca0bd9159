"""Losses against formulas of the test's own, and which rows are drawn with which weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common.networks.arcface import ArcFace, identity_distance, load_arcface
from tests.tools.interval_networks import generator_state, num_dims
from tools.train_quantile_encoder.images import Batches, Folder
from tools.train_quantile_encoder.losses import Losses

OPTIONS = {"alpha": 0.2, "mse": True, "l2_lambda": 0.0, "lpips_lambda": 0.0, "id_lambda": 0.0, "l2_lambda_crop": 0.0,
           "lpips_lambda_crop": 0.0, "w_norm_lambda": 0.0, "no_quantile_image_loss": False}


def numbers(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def measured(predictions, targets, truth, weights, centre, generator=None, **options):
    losses = Losses(SimpleNamespace(**{**OPTIONS, **options}), generator)
    objective, values = losses(predictions, targets, truth, weights, centre)
    return dict(zip(losses.names, [float(value) for value in values], strict=True)), objective


def generator():
    from common.networks.stylegan2_weights import build_stylegan2

    return build_stylegan2(generator_state(), "here").network


def test_rows_without_truth_count_in_no_quantile_and_have_no_gradient():
    predictions, truth = numbers(4, 3, 5).requires_grad_(), numbers(4, 5, seed=1)
    truth[2] = float("nan")
    weights = torch.tensor([4 / 3, 4 / 3, 0, 4 / 3])
    found, objective = measured(predictions, torch.zeros(4, 0), truth, weights, torch.zeros(5))
    guess, right = predictions.detach().numpy().astype(float)[[0, 1, 3]], truth.numpy().astype(float)[[0, 1, 3]]
    for name, head, level in (("lower", 0, 0.1), ("upper", 2, 0.9)):
        short = right - guess[:, head]
        expected = 4 * np.maximum(level * short, (level - 1) * short).mean()
        assert found[name] == pytest.approx(expected, rel=1e-5)
    assert found["mse"] == pytest.approx(4 * ((guess[:, 1] - right) ** 2).mean(), rel=1e-5)
    assert found["loss"] == pytest.approx(found["lower"] + found["upper"] + found["mse"], rel=1e-5)
    objective.backward()
    assert torch.equal(predictions.grad[2], torch.zeros(3, 5))
    assert predictions.grad[1].abs().sum() > 0


@pytest.mark.parametrize("alone", [False, True])
def test_image_losses_are_of_the_rendered_values(alone):
    network, size = generator(), num_dims()
    predictions, targets, centre = 0.1 * numbers(2, 3, size), numbers(2, 3, 16, 16).clamp(-1, 1), numbers(size, seed=2)
    truth, weights = torch.full((2, size), float("nan")), torch.zeros(2)
    found, _ = measured(predictions, targets, truth, weights, centre, network, l2_lambda=2.0, w_norm_lambda=0.5,
                        no_quantile_image_loss=alone)
    heads = [1] if alone else [0, 1, 2]
    expected = sum(float((network.synthesise(predictions[row : row + 1, head] + centre) - targets[row]).square().mean())
                   for row in range(2) for head in heads) / len(heads)
    norms = sum(float(predictions[row, 1].square().sum().sqrt()) for row in range(2))
    assert found["l2"] == pytest.approx(expected, rel=1e-4)
    assert found["w_norm"] == pytest.approx(norms, rel=1e-5)
    assert found["loss"] == pytest.approx(2 * expected + 0.5 * norms, rel=1e-4)


@pytest.fixture
def batches(here):
    generated = Folder("train/generated/1x", [1, 4], 16, num_dims())
    real = Folder("real", [1, 4], 16)
    return Batches(generated, real, 0.5, [0.25, 0.75], np.zeros(num_dims(), np.float32), 0, 8, True)


def test_rows_are_drawn_alike_however_the_batch_is_split(batches):
    whole = batches.draw(3, 0, 8)
    parts = [batches.draw(3, first, last) for first, last in ((0, 3), (3, 4), (4, 8))]
    for one, others in zip(whole, zip(*parts)):
        assert torch.equal(torch.nan_to_num(one, nan=9.0), torch.nan_to_num(torch.cat(others), nan=9.0))
    inputs, targets, truth, weights = whole
    unknown = truth.isnan().any(dim=1)
    assert torch.equal(weights == 0, unknown)
    assert float(weights.sum()) == pytest.approx(8)
    assert inputs.shape == targets.shape == (8, 3, 16, 16)


def test_factors_and_kinds_have_their_probabilities(batches):
    picks = [batches._pick(step, row) for step in range(1, 251) for row in range(8)]
    assert np.mean([view for _, _, view in picks]) == pytest.approx(0.75, abs=0.04)
    generated = [place for folder, place, _ in picks if folder is batches.generated]
    assert len(generated) / len(picks) == pytest.approx(0.5, abs=0.05)
    assert set(generated) == set(range(24))


@pytest.mark.long
def test_the_identity_loss_is_one_minus_the_cosine(tmp_path):
    torch.manual_seed(0)
    torch.save(ArcFace().state_dict(), tmp_path / "model_ir_se50.pth")
    network = load_arcface(tmp_path / "model_ir_se50.pth")
    images = numbers(2, 3, 256, 256).clamp(-1, 1)
    assert torch.allclose(identity_distance(network, images, images), torch.zeros(2), atol=1e-5)
    other = images.clone()
    other[:, :, 35:223, 32:220] *= -1
    assert (identity_distance(network, images, other) > 1e-4).all()
    other = images.clone()
    other[:, :, :35], other[:, :, 223:] = 0, 0  # outside the face
    assert torch.allclose(identity_distance(network, images, other), torch.zeros(2), atol=1e-5)
