"""Features of the user's own networks: CLIP and others as programs, VGG-16 from torchvision's file."""

import numpy as np
import pytest
import torch
from PIL import Image

from common.features.sources import open_images
from tests.common.metrics.distances import frechet_distance_of_rows
from tests.common.metrics.pictures import write_folder
from tests.common.torchvision_guard import import_torchvision
from tests.tools.commands import call_tool, refusal_of, results_of

pytestmark = [pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
              pytest.mark.filterwarnings("ignore::UserWarning")]
CLIP = np.array([[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]], np.float32)
IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)


class Pooled(torch.nn.Module):
    """The mean of each channel in four by four tiles."""

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)


def pooled(place, side, normalisation):
    """Return what Pooled gives for a folder's images, by PIL and numpy."""
    rows, images = [], open_images(place)
    for index in range(len(images)):
        image = Image.fromarray(images.load(index)).resize((side, side), Image.Resampling.BICUBIC)
        x = (np.asarray(image, np.float32) / 255 - normalisation[0]) / normalisation[1]
        rows.append(x.reshape(4, side // 4, 4, side // 4, 3).mean((1, 3)).transpose(2, 0, 1).ravel())
    return np.stack(rows)


def run(*words, extractor, weights):
    return results_of("compute_fid", "clean", *words, "--extractor", extractor, "--weights", weights, "--device", "cpu")


@pytest.mark.parametrize(("extractor", "normalisation"), [("clip", CLIP), ("dinov2", IMAGENET)])
def test_a_torchscript_program_gets_the_images_of_its_kind(here, extractor, normalisation):
    torch.jit.script(Pooled()).save("network.pt")
    results = run("fake", "--reference", "real", extractor=extractor, weights="network.pt")
    expected = frechet_distance_of_rows(pooled("fake", 224, normalisation), pooled("real", 224, normalisation))
    assert results["features"] == extractor
    assert "fid" not in results
    assert results["frechet_distance"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("side", "batch"), [(224, None), pytest.param(336, 3, marks=pytest.mark.long)])
def test_a_program_of_torch_export_tells_its_size(here, side, batch):
    """Free and fixed batch sizes; 336 as the largest CLIP's."""
    shapes = None if batch else ({0: torch.export.Dim("n", max=64)},)
    program = torch.export.export(Pooled(), (torch.zeros(batch or 2, 3, side, side),), dynamic_shapes=shapes)
    torch.export.save(program, "clip.pt2")
    results = run("fake", "--reference", "real", "-bs", "4", extractor="clip", weights="clip.pt2")
    expected = frechet_distance_of_rows(pooled("fake", side, CLIP), pooled("real", side, CLIP))
    assert results["frechet_distance"] == pytest.approx(expected, rel=1e-3)


def test_statistics_in_a_programs_space_are_stored_and_named(here):
    torch.jit.script(Pooled()).save("network.pt")
    words = ("--extractor", "clip", "--weights", "network.pt", "--device", "cpu")
    ended = call_tool("setup_fid", "--action", "compute_new", "--path", "real", "--name", "r", "-r", "0", *words)
    assert ended.status == 0
    assert "--dataset_name r --extractor clip" in ended.err
    stored = results_of("compute_fid", "clean", "fake", "--dataset_name", "r", *words)
    assert stored["frechet_distance"] == pytest.approx(
        results_of("compute_fid", "clean", "fake", "--reference", "real", *words)["frechet_distance"], rel=1e-6)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """A file of torchvision's VGG-16, and that network: the large matrices overlap in memory, so that it is small."""
    torchvision = import_torchvision()
    with torch.device("meta"):
        network = torchvision.models.vgg16(weights=None)
    draws, state = torch.Generator().manual_seed(0), {}
    for name, tensor in network.state_dict().items():
        count, scale = tensor.numel(), (2.0 / max(1, tensor[0].numel())) ** 0.5
        strides = (7, 3) if tensor.ndim == 2 else None
        if strides:
            base = torch.randn(7 * tensor.shape[0] + 3 * tensor.shape[1], generator=draws) * scale
            state[name] = base.as_strided(tensor.shape, strides)
        else:
            state[name] = (torch.randn(count, generator=draws) * (scale if tensor.ndim > 1 else 0.1)).view(tensor.shape)
    path = tmp_path_factory.mktemp("vgg") / "vgg16-397923af.pth"
    torch.save(state, path)
    network.load_state_dict(state, assign=True)
    return path, network.eval()


def of_torchvision(network, place):
    """Return fc2 behind its rectifier for a folder's images, resized as TensorFlow 1 does, by its own formula."""
    rows, images = [], open_images(place)
    for index in range(len(images)):
        image = images.load(index).astype(np.float64)
        for axis in (0, 1):
            image = np.moveaxis(image, axis, 0)
            source = np.arange(224) * len(image) / 224
            low = source.astype(int)
            high, part = np.minimum(low + 1, len(image) - 1), (source - low)[:, None, None]
            image = np.moveaxis(image[low] * (1 - part) + image[high] * part, 0, axis)
        x = (image / 255 - IMAGENET[0]) / IMAGENET[1]
        rows.append(torch.from_numpy(x.transpose(2, 0, 1).astype(np.float32)))
    with torch.no_grad():
        x = network.features(torch.stack(rows)).flatten(1)
        return network.classifier[:5](x).relu().numpy()


@pytest.mark.long
def test_vgg16_is_torchvisions(here, vgg):
    path, network = vgg
    for number, folder in enumerate(("some", "others")):
        write_folder(here / folder, 3, first=10 * number)
    results = run("some", "--reference", "others", "--nointerval", extractor="vgg16", weights=path)
    some, others = (of_torchvision(network, place) for place in ("some", "others"))
    assert some.shape == (3, 4096)
    assert results["features"] == "vgg16"
    assert results["frechet_distance"] == pytest.approx(frechet_distance_of_rows(some, others), rel=1e-3)


@pytest.mark.parametrize(("extractor", "name", "line"), [
    ("vgg16", None, "VGG-16 needs its weights"), ("clip", None, "CLIP needs its network"),
    ("vgg16", "other.pth", "'features.0.weight' is missing"), ("vgg16", "list.pth", "not a dictionary of tensors"),
    ("clip", "flat.pt2", "expected square images"), ("clip", "identity.pt", "expected one row per image"),
])
def test_what_is_no_such_network_is_one_line(here, extractor, name, line):
    torch.save({"a": torch.zeros(3)}, "other.pth")
    torch.save([torch.zeros(3)], "list.pth")
    torch.jit.script(torch.nn.Identity()).save("identity.pt")
    if name == "flat.pt2":
        torch.export.save(torch.export.export(torch.nn.Flatten(), (torch.zeros(2, 3, 20, 30),)), "flat.pt2")
    weights = ("--weights", name) if name else ()
    assert line in refusal_of("compute_fid", "clean", "fake", "--reference", "real", "--extractor", extractor, *weights,
                              "--device", "cpu", "--quiet")
