"""LPIPS against the package of its authors, with the same weights."""

import pytest
import torch

from common.errors import InputError
from common.networks.lpips import load_lpips
from tests.common.torchvision_guard import import_torchvision


def reference(net):
    """Return the package's distance with random backbone and published learned layers."""
    import_torchvision()
    import lpips

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_distance_is_the_packages(tmp_path, net):
    theirs = reference(net)
    backbone = {f"features.{name.split('.', 1)[1]}": tensor for name, tensor in theirs.net.state_dict().items()}
    torch.save({**backbone, "classifier.1.weight": torch.zeros(2)}, tmp_path / "backbone.pth")
    torch.save(theirs.state_dict(), tmp_path / "whole.pth")
    first, second = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).mul(2).sub(1)
    expected = theirs(first, second).flatten()
    for name in ("backbone.pth", "whole.pth"):
        with torch.no_grad():
            found = load_lpips(tmp_path / name)(first, second)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
        assert load_lpips(tmp_path / name)(first, first).abs().max() == 0


def test_another_file_is_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"neither AlexNet's nor VGG-16's features"):
        load_lpips(tmp_path / "other.pth")


def test_a_loss_takes_values_beyond_the_range_as_the_package_does_and_black_features_have_a_gradient(tmp_path):
    from common.blobs.perceptual import LpipsDistance

    theirs = reference("vgg")
    torch.save(theirs.state_dict(), tmp_path / "whole.pth")
    distance = LpipsDistance(load_lpips(tmp_path / "whole.pth"))
    first, second = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1)).mul(4).sub(2)
    found = distance.distance(distance.features(first), distance.features(second))
    torch.testing.assert_close(found, theirs(first, second).flatten(), rtol=1e-5, atol=1e-8)
    for parameter in distance.network.features["0"].parameters():
        parameter.fill_(0)  # nothing but zeros after the first rectifier
    first.requires_grad_()
    distance.distance(distance.features(first), distance.features(second)).sum().backward()
    assert bool(first.grad.isfinite().all())
