"""Generators give image i from (seed, i) alone, from files of every kind; what is no generator is told in one line."""

import json
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from common.diffusion.score_sampling import Sampler
from common.errors import InputError
from common.files import file_hash
from common.formats.checkpoints import save_torch
from common.generators import KINDS, find_kind, open_generator
from common.generators.latent import draw_codes
from common.score.config import override, preset
from common.score.models import LoadedModel, build_network
from tests.common.networks.stylegan2_makers import checkpoint as stylegan2_checkpoint
from tests.common.networks.stylegan2_makers import small_generator
from tests.common.programs import (
    WIDTH,
    Fewer,
    OfTheBatch,
    OwnNoise,
    Quiet,
    Small,
    Transposed,
    Two,
    Writes,
    exported,
    scripted,
)
from tests.tools.blobgan_networks import save_blobgan

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def expected(module, indices, seed):
    """Return the images (n, C, H, W) 0..255 of a module with values in [-1, 1]."""
    with torch.no_grad():
        return (module.eval()(draw_codes(indices, seed, (WIDTH,))) + 1) / 2 * 255


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A score model whose moving average is apart from its weights."""
    config = override(preset("u_digits"),
                      ["model.nf=4", "model.attn_resolutions=4", "sampling.sigma_max=0.5", "sampling.num_steps=5"])
    network = build_network(config, seed=1)
    trained = [parameter.detach() for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    ema = {"decay": 0.9, "num_updates": 3, "shadow_params": [parameter * 0.9 for parameter in trained]}
    state = {"model": {f"module.{name}": value for name, value in network.state_dict().items()}, "ema": ema,
             "optimizer": {}, "step": 3}
    path = tmp_path_factory.mktemp("score") / "small.pth"
    save_torch(path, {**state, "genprobe": json.dumps({"config": config})})
    return path


@pytest.fixture(params=["score multistep", "score pc", "scripted", "own noise", "exported", "exported for 4",
                        "stylegan2"])
def generator(request, tmp_path, checkpoint):
    kind, path = request.param, tmp_path / "file"
    if kind.startswith("score"):
        return open_generator(checkpoint, method=kind.split()[1], num_steps=4)
    if kind == "stylegan2":
        return open_generator(stylegan2_checkpoint(path, small_generator((8, 6))))
    if kind.startswith("exported"):
        return open_generator(exported(path, Small(), 4 if "4" in kind else None))
    return open_generator(scripted(path, OwnNoise() if kind == "own noise" else Small()))


def test_an_image_is_the_same_in_any_batch(generator):
    whole = generator.generate(range(10, 17), seed=3)
    assert whole.dtype == torch.float32
    assert tuple(whole.shape[2:]) == generator.resolution == (8, 8)
    assert whole.min() >= 0
    assert whole.max() <= 255
    assert float(whole.std()) > 10
    for indices in ([12], [16, 10], [11, 13, 14, 15, 10]):
        part = generator.generate(indices, seed=3)
        torch.testing.assert_close(part, whole[[index - 10 for index in indices]], rtol=0, atol=0.02)
    assert not torch.allclose(generator.generate([12], seed=4), whole[2:3], atol=1.0)
    assert not torch.allclose(whole[0], whole[1], atol=1.0)


def test_torchs_own_generator_is_left_as_it_was(generator):
    torch.manual_seed(5)
    generator.generate([0, 1], seed=0)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == after


def test_a_description_tells_the_file_and_how_it_samples(tmp_path, checkpoint):
    found = open_generator(checkpoint).description
    assert found == {"kind": "ncsnpp", "name": "small.pth", "bytes": checkpoint.stat().st_size,
                     "sha256": file_hash(checkpoint),
                     "weights": "ema", "method": "multistep", "num_steps": 5}
    path = scripted(tmp_path / "g.pt", Small())
    generator = open_generator(path, output_range="signed")
    assert generator.name == "g.pt"
    assert {name: generator.description[name] for name in ("kind", "z_shape", "output_range", "one_by_one")} == {
        "kind": "torchscript", "z_shape": [WIDTH], "output_range": "signed", "one_by_one": False}
    json.dumps(generator.description)


@pytest.mark.parametrize("options", [{}, {"weights": "raw"}, {"method": "pc", "num_steps": 4}, {"method": "ode"}])
def test_a_score_model_gives_the_images_of_sample_before_rounding(options, checkpoint):
    generator = open_generator(checkpoint, **options)
    model = LoadedModel(checkpoint, None, options.get("weights", "ema"))
    steps = {"num_scales": 4} if options.get("method") == "pc" else {}
    settings = {**model.config["sampling"], "method": options.get("method", "multistep"), **steps}
    pixels, _ = Sampler(model, settings)(7, [4, 9], "cpu")
    images = generator.generate([4, 9], seed=7)
    assert images.shape == (2, 1, 8, 8)
    assert np.array_equal(images.to(torch.uint8).permute(0, 2, 3, 1).numpy(), pixels)
    # four such steps leave noise that is clipped
    assert bool((images != images.round()).any()) or "pc" in options.values()


def test_weights_without_a_suffix_are_known_by_their_contents(checkpoint, tmp_path):
    model = LoadedModel(checkpoint, None, "ema")
    metadata = {"weights": "ema", "genprobe": json.dumps({"config": model.config})}
    save_file(model.network.state_dict(), tmp_path / "weights", metadata)
    assert find_kind(tmp_path / "weights") == "ncsnpp"
    images = open_generator(tmp_path / "weights").generate([0, 1], seed=0)
    # of two containers: equal weights, not one computation
    torch.testing.assert_close(images, open_generator(checkpoint).generate([0, 1], seed=0), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("make", [scripted, exported])
def test_kinds_are_known_by_contents_and_ranges_are_converted(make, tmp_path):
    scales = {"signed": (1.0, 0.0), "unit": (0.5, 0.5), "bytes": (127.5, 127.5)}
    for name, (scale, shift) in scales.items():
        path = make(tmp_path / f"{scale}.pth", Small(scale, shift))  # not the suffix that its kind has
        assert find_kind(path) == {scripted: "torchscript", exported: "export"}[make]
        images = open_generator(path, output_range=name).generate([3, 1], seed=2)
        torch.testing.assert_close(images, expected(Small(), [3, 1], 2), rtol=0, atol=0.01)


def test_values_beyond_the_range_are_clamped(tmp_path):
    images = open_generator(scripted(tmp_path / "g", Small(scale=1.6))).generate(range(4), seed=0)
    assert (images.min(), images.max()) == (0, 255)


@pytest.mark.parametrize(("module", "options", "shape"), [
    (Small(), {}, [WIDTH]), (Small(), {"z_dim": WIDTH}, [WIDTH]), (Transposed(), {}, [5, 1, 1]),
    (Transposed(), {"z_dim": 5}, [5, 1, 1]),
])
def test_the_width_of_z_is_found_by_trying(module, options, shape, tmp_path):
    assert open_generator(scripted(tmp_path / "g", module), **options).description["z_shape"] == shape


@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("module", [Small(channels=1), Quiet()])
def test_an_exported_program_gives_its_modules_images(module, batch, tmp_path):
    generator = open_generator(exported(tmp_path / "g.pt2", module, batch))
    for count in (1, 2, 9):
        torch.testing.assert_close(generator.generate(range(count), 0), expected(module, range(count), 0), rtol=0,
                                   atol=0.01)


@pytest.mark.parametrize(("make", "module", "options", "said"), [
    (scripted, Small(), {"z_dim": 9}, "takes no z of width 9"),
    (exported, Small(), {"z_dim": 9}, "takes codes of width 7"),
    (scripted, Small(channels=2), {}, r"returns shape \(4, 2, 8, 8\), expected \(4, 3 or 1, height, width\)"),
    (exported, Small(channels=2), {}, r"returns shape \(4, 2, 8, 8\)"),
    (scripted, Small(scale=float("nan")), {}, "NaN"), (exported, Small(shift=float("inf")), {}, "NaN or infinite"),
    (scripted, Small(127.5, 127.5), {}, "values run from .* not from -1 to 1. Pass `output_range`"),
    (exported, Small(), {"output_range": "bytes"}, "not from 0 to 255"),
    (scripted, Small(), {"output_range": "unit"}, "not from 0 to 1"),
    (scripted, Small(), {"output_range": "0-1"}, "unknown range"), (scripted, Small(), {"z_dim": 0}, "at least 1"),
    (scripted, Small(), {"config": "u_digits"}, "no such option. Leave it out; .* takes z_dim, output_range"),
    (scripted, Small(), {"kind": "export"}, "is of kind 'torchscript', not 'export'"),
    (scripted, Small(), {"kind": "exports"}, "Did you mean export?"),
])
def test_what_does_not_fit_is_named(make, module, options, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        open_generator(make(tmp_path / "g", module), **options)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("make", "module", "said"), [
    (scripted, Fewer(), "returns 2 images for 4 codes"), (scripted, Two(), "returns a value of type tuple"),
    (lambda path, module: exported(path, module, 4), Fewer(), "returns 2 images for 4 codes"),
    (exported, Two(), "takes 1 tensors and returns 2"),
    (scripted, OfTheBatch(), "depend on what else is in their batch"),
    (exported, OfTheBatch(), "depend on what else is in their batch. Save the module in evaluation mode"),
])
def test_modules_that_give_something_else_are_named(make, module, said, tmp_path):
    with pytest.raises(InputError, match=said):
        open_generator(make(tmp_path / "g", module), **({"z_dim": WIDTH} if make is scripted else {}))


@pytest.mark.parametrize(("options", "said"), [
    ({"method": "euler"}, "method euler: no such sampler"), ({"num_steps": 1}, "num_steps 1: must be at least 2"),
    ({"method": "ode", "num_steps": 9}, "chooses its steps itself"),
    ({"z_dim": 3}, "z_dim: a generator of kind 'ncsnpp'"),
    ({"config": "u_photos32"}, "small.pth"),
])
def test_options_of_a_score_model_are_checked(options, said, checkpoint):
    with pytest.raises(InputError, match=said):
        open_generator(checkpoint, **options)


def test_a_published_checkpoint_needs_its_configuration():
    with pytest.raises(InputError, match="Pass one with `config`"):
        open_generator("tests/golden/qc_ncsn/train_ckpt/checkpoint_1.pth")


def test_files_that_are_no_generators_are_named(tmp_path, checkpoint):
    path = scripted(tmp_path / "g.pt", Small())
    data = path.read_bytes()
    contents = {"text": b"hello, this is text", "empty": b"", "short": data[:-700], "pickle": pickle.dumps([1]),
                "shorter": b"PK\x03"}
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("picture.txt", "x")
    with zipfile.ZipFile(tmp_path / "older.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
    np.savez(tmp_path / "arrays.npz", x=np.zeros(3))
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    for name in [*contents, "other.zip", "older.pt2", "arrays.npz", "missing.pt", "."]:
        with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
            open_generator(tmp_path / name)
    with pytest.raises(InputError, match="torch 2.7 and earlier"):
        open_generator(tmp_path / "older.pt2")
    stylegan = stylegan2_checkpoint(tmp_path / "s", small_generator())
    assert set(KINDS) == {find_kind(checkpoint), find_kind(path), find_kind(exported(tmp_path / "e", Small())),
                          find_kind(stylegan), find_kind(save_blobgan(tmp_path / "b"))}


def test_a_stylegan2_is_known_by_its_weights_whatever_the_container(tmp_path):
    network = small_generator()
    state = dict(network.state_dict())
    stylegan2_checkpoint(tmp_path / "zip.pt", network)
    torch.save({"g_ema": state}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "weights.safetensors")
    images = [open_generator(path).generate([5, 2], seed=1) for path in sorted(tmp_path.iterdir())]
    for other in images[1:]:
        torch.testing.assert_close(images[0], other, rtol=0, atol=0.02)  # other memory, not the same computation
    (tmp_path / "ada.pkl").write_bytes(pickle.dumps({"G_ema": [1.0]}))
    with pytest.raises(InputError, match="which is never run"):
        open_generator(tmp_path / "ada.pkl")


@pytest.mark.parametrize("truncation", [1.0, 0.6])
def test_an_image_of_a_stylegan2_is_its_codes_picture(truncation, tmp_path):
    network, centre = small_generator(), torch.ones(6)
    path = stylegan2_checkpoint(tmp_path / "g.pt", network, latent_avg=centre)
    generator = open_generator(path, truncation=truncation)
    with torch.no_grad():
        w = network.mapping(draw_codes([3, 8], 5, (6,)))
        vectors = network.style_vectors(network.wplus(centre + truncation * (w - centre)))
        expected = (network.synthesise(vectors, network.draw_noise([3, 8], 5)) + 1) * 127.5
    torch.testing.assert_close(generator.generate([3, 8], 5), expected.clamp(0, 255), rtol=0, atol=0.02)
    described = generator.description
    assert (described["kind"], described["weights"], described["truncation"]) == ("stylegan2", "g_ema", truncation)
    assert described.get("truncation_centre") == (None if truncation == 1 else "file")
    json.dumps(described)
    with pytest.raises(InputError, match="num_steps: a generator of kind 'stylegan2' has no such option"):
        open_generator(path, num_steps=3)


def test_R1_a_scripted_module_that_writes_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="calls aten::save, which is not .*; nothing of it was run"):
        open_generator(scripted(tmp_path / "g.pt", Writes()))
    assert not (tmp_path / "written").exists()


def test_R1_a_member_that_is_there_twice_is_refused(tmp_path):
    for path in (exported(tmp_path / "e.pt2", Small()), scripted(tmp_path / "s.pt", Small())):
        with zipfile.ZipFile(path, "a") as archive:
            folder, _, name = archive.namelist()[0].partition("/")
            archive.writestr(f"{folder}/{name.upper()}", b"x")
        with pytest.raises(InputError, match="a member is there twice"):
            open_generator(path)
