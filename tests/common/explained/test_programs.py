"""TorchScript modules, torch.export programs and DeepLabV3 as explained models."""

import pytest
import torch
from torch import nn

from common.errors import InputError
from common.explained.objective import parse_objective
from common.explained.opening import open_explained
from common.explained.segmentation import LAST, MARK, is_deeplab
from common.networks.deeplab import DeepLabV3

SIDE = 16


class Segmenter(nn.Module):
    """Logits (B, 3, H, W) of brightness."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


class Both(nn.Module):
    """Two outputs under names."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x):
        maps = torch.tanh(self.conv(x))
        return {"maps": maps, "scores": self.linear(maps.mean(dim=(2, 3)))}


class Detector(nn.Module):
    """Two boxes an image; scores are the means of the halves, class 1 left and 2 right."""

    def forward(self, x):
        left, right = x[..., : SIDE // 2].mean(dim=(1, 2, 3)), x[..., SIDE // 2 :].mean(dim=(1, 2, 3))
        scores = torch.stack([left, right], dim=1).mul(4.0).sigmoid()
        boxes = torch.zeros_like(scores)[..., None].expand(-1, -1, 4)
        classes = torch.tensor([1.0, 2.0], device=x.device).expand_as(scores)
        return torch.cat([boxes, scores[..., None], classes[..., None]], dim=2)


class Normed(nn.Module):
    """A batch norm before a linear layer."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(self.norm(x).mean(dim=(2, 3)))


class Hard(nn.Module):
    """Decisions without a derivative."""

    def forward(self, x):
        return (x.mean(dim=(2, 3)) > 0).float()


def script(module, path):
    torch.jit.save(torch.jit.script(module), str(path))
    return path


def export(module, path):
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.export.save(torch.export.export(module, (torch.rand(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},)), path)
    return path


@pytest.fixture
def images():
    return torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_both_containers_give_the_modules_gradients(tmp_path, images):
    torch.manual_seed(0)
    module, gradients = Both().eval(), []
    for path in (script(module, tmp_path / "m.pt"), export(module, tmp_path / "m.pt2")):
        explained = open_explained(path, objectives=["attribute:1"], size=(SIDE, SIDE), output="scores")
        x = images.clone().requires_grad_()
        values = explained.values(x)
        assert torch.allclose(values[:, 0], module(images)["scores"][:, 1], atol=1e-6)
        gradients.append(torch.autograd.grad(values.sum(), x)[0])
        assert explained.description["kind"] in ("script", "export")
    x = images.clone().requires_grad_()
    expected, = torch.autograd.grad(module(x)["scores"][:, 1].sum(), x)
    for gradient in gradients:
        assert (gradient - expected).abs().max() <= 1e-5 * expected.abs().max()
    with pytest.raises(InputError, match="no such output"):
        open_explained(tmp_path / "m.pt2", objectives=["attribute:1"], output="boxes")


def test_a_share_counts_pixels_of_the_largest_class_in_its_region(tmp_path, images):
    torch.manual_seed(0)
    module = Segmenter().eval()
    path = script(module, tmp_path / "s.pt")
    explained = open_explained(path, objectives=["share:road@0.25,0.5,0.75,1"], class_names=("sky", "road", "car"),
                               threshold=0.4)
    logits = module(images)
    part = logits[:, :, 8:16, 4:12]
    soft = part.softmax(dim=1)[:, 1].mean(dim=(1, 2))
    assert torch.allclose(explained.values(images)[:, 0], soft.logit() - torch.tensor(0.4).logit(), atol=1e-5)
    assert torch.allclose(explained.scores(explained.values(images))[:, 0], soft, atol=1e-5)
    hard = (part.argmax(dim=1) == 1).float().mean(dim=(1, 2))
    assert explained.decided(images)[:, 0].tolist() == (hard > 0.4).tolist()


def test_detections_are_searched_by_scores_and_judged_by_counts(tmp_path):
    path = export(Detector().eval(), tmp_path / "d.pt2")
    explained = open_explained(path, objectives=["count:1", "confidence:car"], class_names=("x", "y", "car"))
    images = torch.cat([torch.full((1, 3, SIDE, SIDE), 0.5), torch.full((1, 3, SIDE, SIDE), -0.5)])
    scores = torch.sigmoid(torch.tensor([2.0, -2.0]))
    values = explained.values(images)
    assert torch.allclose(values[:, 0], 8 * (scores - 0.5), atol=1e-5)
    assert torch.allclose(values[:, 1], torch.tensor([2.0, -2.0]), atol=1e-5)
    assert explained.decided(images).tolist() == [[True, True], [False, False]]
    assert torch.allclose(explained.scores(values)[:, 0], scores, atol=1e-5)


class Blind(nn.Module):
    """No boxes at all."""

    def forward(self, x):
        return x[:, :0, 0, :6]


def test_a_detector_that_finds_nothing(tmp_path):
    with pytest.raises(InputError, match="its output is empty"):
        open_explained(script(Blind(), tmp_path / "m.pt"), objectives=["count:1"])
    for word in ("confidence:1", "count:1"):
        objective = parse_objective(word)
        assert objective.score(torch.zeros(2, 0, 6)).tolist() == [0, 0]
        assert (objective.value(torch.zeros(2, 0, 6)) < 0).all()


def test_a_single_class_has_nothing_to_be_told_from(tmp_path):
    with pytest.raises(InputError, match="has one class"):
        open_explained(script(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1)), tmp_path / "m.pt"),
                       objectives=["class:0"])


def test_a_class_is_its_logit_against_all_others(tmp_path, images):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 5)).eval()
    explained = open_explained(script(module, tmp_path / "c.pt"), objectives=["class:3"], size=(SIDE, SIDE))
    expected = module(images).softmax(dim=1)[:, 3]
    assert torch.allclose(explained.scores(explained.values(images))[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize(("last", "objective"), [(nn.Sigmoid(), "attribute:1"), (nn.Softmax(dim=1), "class:1")])
def test_T37_probabilities_where_logits_belong_are_said(last, objective, tmp_path, capsys):
    linear = nn.Linear(3 * SIDE * SIDE, 5)
    for layers, said in (((linear,), False), ((linear, last), True)):
        path = script(nn.Sequential(nn.Flatten(), *layers).eval(), tmp_path / "p.pt")
        open_explained(path, objectives=[objective], size=(SIDE, SIDE))
        assert ("its outputs lie between 0 and 1" in capsys.readouterr().err) == said


def test_an_exact_name_comes_before_one_of_other_letters():
    assert [parse_objective(f"attribute:{name}", ("A", "a")).index for name in "Aa"] == [0, 1]


def test_ranges_and_sizes_are_applied(tmp_path, images):
    path = script(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), tmp_path / "mean.pt")
    unit = open_explained(path, objectives=["attribute:0"], value_range="unit").values(images)
    assert torch.allclose(unit[:, 0], ((images + 1) / 2).mean(dim=(2, 3))[:, 0], atol=1e-6)
    normed = open_explained(path, objectives=["attribute:2"], value_range="imagenet", size=(8, 8)).values(images)
    expected = (((images + 1) / 2).mean(dim=(2, 3))[:, 2] - 0.406) / 0.225
    assert torch.allclose(normed[:, 0], expected, atol=2e-2)


def test_T25_a_program_in_training_mode_is_refused(tmp_path):
    script(Normed(), tmp_path / "t.pt")
    explained = open_explained(tmp_path / "t.pt", objectives=["attribute:0"])  # a script is put into evaluation mode
    before = [buffer.clone() for buffer in explained.run.buffers()]
    explained.values(torch.rand(4, 3, SIDE, SIDE))
    assert all(torch.equal(one, two) for one, two in zip(before, explained.run.buffers()))
    with pytest.raises(InputError, match="depend on what else is in the batch"):
        open_explained(export(Normed(), tmp_path / "t.pt2"), objectives=["attribute:0"])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_T36_a_program_of_other_floats_takes_pictures_of_these(kind, tmp_path):
    torch.jit.script(Segmenter().eval().to(kind)).save(tmp_path / "half.pt")
    explained = open_explained(tmp_path / "half.pt", objectives=["share:1"], size=(SIDE, SIDE))
    images = torch.rand(2, 3, SIDE, SIDE, requires_grad=True)
    values = explained.values(images)
    assert values.dtype == torch.float32
    assert torch.autograd.grad(values.sum(), images)[0].abs().max() > 0


def test_T36_a_program_without_a_derivative_is_refused(tmp_path):
    with pytest.raises(InputError, match="derivative with respect to the picture is none"):
        open_explained(script(Hard(), tmp_path / "h.pt"), objectives=["attribute:0"])


@pytest.mark.parametrize(("word", "what"), [
    ("share:0", "'share' needs"), ("attribute:7", "the model has 2 attributes"), ("speed:1", "expected KIND:NAME"),
    ("share:0@0.5,0,0.2,1", "a region is x0,y0,x1,y1"), ("attribute:cat", "no class or attribute 'cat'")])
def test_objectives_that_do_not_fit_are_refused(word, what, tmp_path):
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    with pytest.raises(InputError, match=what):
        open_explained(script(module, tmp_path / "m.pt"), objectives=[word])


def test_a_threshold_of_nothing_or_all_shows_the_share_itself(tmp_path, images):
    path = script(Segmenter(), tmp_path / "m.pt")
    shares = [open_explained(path, objectives=["share:1"], threshold=value) for value in (0.0, 0.5, 1.0)]
    first, half, last = (each.scores(each.values(images)) for each in shares)
    torch.testing.assert_close(first, half)
    torch.testing.assert_close(last, half)


@pytest.mark.long
def test_a_deeplab_of_the_published_dictionary_loads_and_gives_a_derivative(tmp_path):
    torch.manual_seed(0)
    network = DeepLabV3(50, 20)
    path = tmp_path / "sem_seg.tar"
    torch.save({"epoch": 1, "loss": 0.5, "model_state_dict": network.state_dict()}, path)
    explained = open_explained(path, objectives=["share:road@0.2,0.5,0.8,1"], size=(32, 64))
    images = (torch.rand(1, 3, 32, 64) * 2 - 1).requires_grad_()
    gradient, = torch.autograd.grad(explained.values(images).sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("place", ["model_state_dict", "state_dict", None])
def test_T20_a_deeplab_is_known_by_its_weights_under_all_names(prefix, place):
    state = {f"{prefix}{name}": torch.zeros(20, 256, 1, 1) for name in (MARK, LAST)}
    assert is_deeplab(state if place is None else {"epoch": 1, place: state}, "d.pth")


@pytest.mark.long
def test_T20_a_deeplab_of_half_width_without_counters(tmp_path):
    network = DeepLabV3(50, 5).eval()
    state = {f"_orig_mod.{name}": tensor.half() for name, tensor in network.state_dict().items()
             if tensor.is_floating_point()}
    torch.save({"state_dict": state}, tmp_path / "sem_seg.tar")
    explained, images = (open_explained(tmp_path / "sem_seg.tar", objectives=["share:1"], size=(32, 32)),
                         torch.rand(1, 3, 32, 32))
    torch.testing.assert_close(explained.outputs(images), network(images)["out"], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("last", [5, torch.tensor(1.0), torch.zeros(20, 256, 1, 1)])
def test_what_is_nearly_a_deeplab_is_refused(last, tmp_path):
    state = {"backbone.layer4.0.conv1.weight": torch.zeros(1), "classifier.4.weight": last}
    torch.save({"model_state_dict": state}, tmp_path / "sem_seg.tar")
    with pytest.raises(InputError):
        open_explained(tmp_path / "sem_seg.tar", objectives=["share:road"])


@pytest.mark.parametrize(("depth", "count"), [(50, 42_004_074), (101, 60_996_202)])
def test_a_deeplab_has_torchvisions_number_of_parameters(depth, count):
    with torch.device("meta"):
        network = DeepLabV3(depth, 21, has_second=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    network.eval()
    assert network.backbone.maps(torch.empty(1, 3, 64, 64, device="meta"))[-1].shape == (1, 2048, 8, 8)


def test_a_program_of_one_size_is_tried_on_pictures_of_that_size(tmp_path):
    path = script(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2)), tmp_path / "fixed.pt")
    assert open_explained(path, objectives=["attribute:1"], shape=(SIDE, SIDE)).names == ("attribute:1",)
    with pytest.raises(InputError, match="it fails on pictures of 64 x 64"):
        open_explained(path, objectives=["attribute:1"])
