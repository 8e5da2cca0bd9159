"""The FID Inception: clean-fid's own network on the same weights, and the form for inference beside the plain one."""

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.networks.inception import NUM_CLASSES, NUM_FEATURES, FoldedConv, InceptionFeatures, InceptionV3
from common.networks.inception_weights import build_inception, wrapper_names
from tests.common.torchvision_guard import import_torchvision


@pytest.fixture(scope="module")
def plain(state):
    return build_inception(state)


@pytest.fixture(scope="module")
def fast(plain):
    return InceptionFeatures(plain)


@pytest.fixture(scope="module")
def images():
    """Three unlike images: noise, a ramp, a flat one with a bright corner."""
    noise = np.random.default_rng(0).uniform(-1, 1, (3, 299, 299))
    ramp = np.broadcast_to(np.linspace(-1, 1, 299), (3, 299, 299))
    flat = np.full((3, 299, 299), -0.3)
    flat[:, :40, :60] = 1
    return torch.from_numpy(np.stack([noise, ramp, flat]).astype(np.float32))


@pytest.mark.filterwarnings("ignore::UserWarning")  # torchvision's, of the way clean-fid calls it
def test_all_taps_are_those_of_clean_fid_s_own_network(monkeypatch, plain, state, images):
    import_torchvision()
    from cleanfid import inception_pytorch

    monkeypatch.setattr(inception_pytorch, "load_state_dict_from_url", lambda url, progress: state)
    theirs = inception_pytorch.InceptionV3([0, 1, 2, 3], resize_input=False, normalize_input=False).eval()
    with torch.inference_mode():
        expected = theirs(images[:2])
        x, got = images[:2], []
        for stage in plain.stages():
            x = stage(x)
            got.append(x.mean((2, 3)))
    assert [means.shape[1] for means in got] == [64, 192, 768, 2048]
    for means, activation in zip(got, expected):
        torch.testing.assert_close(means, activation.mean((2, 3)), rtol=0, atol=1e-5)
    prefixes = wrapper_names()  # the wrapper's own names are those by which saved ones are known
    for name, tensor in theirs.state_dict().items():
        head = ".".join(name.split(".")[:3]) + "."
        assert torch.equal(tensor, state[prefixes[head] + name.removeprefix(head)])


def test_names_and_order_are_the_published_ones(case):
    assert [row["name"] for row in case.manifest()] == list(InceptionV3().state_dict())


def test_inference_form_gives_the_plain_features_and_logits(plain, fast, images):
    with torch.inference_mode():
        features = plain(images)
        assert features.std() > 0.3  # so that 1e-5 says something
        torch.testing.assert_close(fast.features(images), features, rtol=0, atol=1e-5)
        for bias in (True, False):
            torch.testing.assert_close(fast.logits(features, bias), plain.logits(features, bias), rtol=0, atol=1e-4)
    assert fast.logits(features).shape == (3, NUM_CLASSES)
    difference = fast.logits(features) - fast.logits(features, bias=False)
    torch.testing.assert_close(difference, plain.fc.bias.expand_as(difference), rtol=0, atol=1e-5)


def test_features_do_not_depend_on_the_batch(fast, images):
    whole = fast.features(images)
    for size in (1, 2):
        parts = torch.cat([fast.features(part) for part in images.split(size)])
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    assert fast.features(images[:0]).shape == (0, NUM_FEATURES)


def test_without_the_fused_operators_the_features_are_the_same(monkeypatch, plain, fast, images):
    monkeypatch.setattr(FoldedConv, "_prepack", lambda self, x: False)
    got = InceptionFeatures(plain).features(images[:1])
    torch.testing.assert_close(got, fast.features(images[:1]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("switch", [True, False])
def test_the_given_network_stays_as_it_is_and_the_precision_switch_too(plain, fast, state, images, switch, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", switch)
    fast.features(images[:1])
    assert torch.backends.cudnn.allow_tf32 is switch
    name = "Mixed_7c.branch_pool.conv.weight"
    assert torch.equal(plain.state_dict()[name], state[name])


def test_images_of_another_size_are_refused(fast):
    with pytest.raises(ValueError, match="299"):
        fast.features(torch.zeros(1, 3, 298, 299))


def test_logits_without_the_last_layer_are_refused_in_words(state):
    without = {name: value for name, value in state.items() if not name.startswith("fc.")}
    features = InceptionFeatures(build_inception(without))
    assert not features.has_logits
    with pytest.raises(InputError, match="no logits"):
        features.logits(torch.zeros(1, NUM_FEATURES))
