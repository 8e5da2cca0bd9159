"""BlobGAN's files: published containers, our own, incomplete and hostile ones; which weights are used."""

import gzip
import json
import tarfile
import zipfile

import pytest
import torch

from common.errors import InputError
from common.formats.checkpoints import load_safetensors, save_safetensors, save_torch
from common.formats.lightning import load_lightning
from common.formats.tensors import ALIGNMENT
from common.networks.blobgan.files import (
    ORDER,
    checkpoint_name,
    read_blobgan,
    state_dict,
    write_checkpoint,
    write_pair,
)
from tests.common.formats import hostile_files as hostile
from tests.common.formats.test_hostile import check
from tests.common.networks.blobgan.makers import networks, pair, small
from tests.golden.registry import Case
from tests.readers.damage import mutate
from tests.test_golden import OWN

CONTAINER = OWN / "blobex" / "lightning_container"
NEAR = {"rtol": 1e-5, "atol": 1e-5}  # other memory, not the same computation


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def trained():
    return networks(small())


def noise(rows=2):
    return torch.randn(rows, 10, generator=torch.Generator().manual_seed(0))


def pictures(file, z=None):
    return file.render(file.layouts(noise() if z is None else z))


def expected(trained, suffix="_ema"):
    blobs = trained[f"layout_net{suffix}"](noise())
    return trained[f"generator{suffix}"](blobs).detach()


def written(path, trained, drop=(), prefix="", config=None):
    """Write a checkpoint without the networks whose names start as `drop` says, all names with a prefix."""
    state = {f"{prefix}{name}": value for name, value in state_dict(trained).items() if not name.startswith(drop)}
    save_torch(path, {"state_dict": state, "hyper_parameters": (config or small()).to_hyper_parameters(),
                      "global_step": 7, "pytorch-lightning_version": "1.5.10"})
    return path


def test_T16_averaged_weights_by_default_and_said_so(trained, tmp_path):
    """In the published container, whose live weights are half of the averaged ones, and in our own."""
    case = Case(CONTAINER)
    for weights, other in (("ema", "raw"), ("raw", "ema")):
        file = read_blobgan(case.file("tiny"), weights=weights)
        assert file.weights == weights
        twin = read_blobgan(case.file("tiny"), weights=other)
        ratio = file.generator.conv1.conv.weight / twin.generator.conv1.conv.weight
        torch.testing.assert_close(ratio, torch.full_like(ratio, 2.0 if weights == "ema" else 0.5))
    path = written(tmp_path / "a.ckpt", trained)
    assert read_blobgan(path).weights == "ema"
    torch.testing.assert_close(pictures(read_blobgan(path)), expected(trained), **NEAR)
    torch.testing.assert_close(pictures(read_blobgan(path, weights="raw")), expected(trained, ""), **NEAR)


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod"])
def test_networks_that_were_wrapped_one_by_one(trained, wrapper, tmp_path):
    state = {name.replace(".", f".{wrapper}.", 1): value for name, value in state_dict(trained).items()}
    save_torch(tmp_path / "a.ckpt", {"state_dict": state, "hyper_parameters": small().to_hyper_parameters()})
    torch.testing.assert_close(pictures(read_blobgan(tmp_path / "a.ckpt")), expected(trained), **NEAR)


def test_what_is_missing_names_the_flag_of_the_command(trained, tmp_path):
    path = written(tmp_path / "a.ckpt", trained, drop=("generator_ema", "layout_net_ema"))
    for flag, advice in (("--weights", "Pass --weights raw"), ("--live_weights", "Pass --live_weights, or")):
        with pytest.raises(InputError, match=advice):
            read_blobgan(path, flag=flag)


@pytest.mark.parametrize("prefix", ["", "module.", "inverter.", "inverter.module."])
def test_prefixes_of_wrappers(trained, prefix, tmp_path):
    path = written(tmp_path / "a.ckpt", trained, prefix=prefix)
    torch.testing.assert_close(pictures(read_blobgan(path)), expected(trained), **NEAR)


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_weights_that_are_there_under_two_names_are_refused(trained, suffix, tmp_path):
    whole = torch.load(written(tmp_path / "a.ckpt", trained), weights_only=False)
    state = whole["state_dict"]
    name = next(name for name in state if name.startswith("layout_net_ema."))
    state[f"module.{name}"] = state[name] + 1
    path = tmp_path / f"two{suffix}"
    if suffix == ".ckpt":
        torch.save(whole, path)
    else:
        save_safetensors(path, state, {"hyper_parameters": json.dumps(whole["hyper_parameters"])})
    with pytest.raises(InputError, match=f"two{suffix}: '{name}' is in it under two names"):
        read_blobgan(path)


def test_without_the_live_half_and_without_the_discriminator(trained, tmp_path):
    path = written(tmp_path / "a.ckpt", trained, drop=("generator.", "layout_net.", "discriminator."))
    torch.testing.assert_close(pictures(read_blobgan(path)), expected(trained), **NEAR)
    with pytest.raises(InputError, match="no live weights .* in it. Pass weights ema"):
        read_blobgan(path, weights="raw")


def test_without_averaged_weights(trained, tmp_path):
    """The live ones where the training averaged none; otherwise only when they are asked for."""
    drop = ("generator_ema.", "layout_net_ema.")
    path = written(tmp_path / "a.ckpt", trained, drop, config=small(accumulate=False))
    file = read_blobgan(path)
    assert file.weights == "raw"
    torch.testing.assert_close(pictures(file), expected(trained, ""), **NEAR)
    path = written(tmp_path / "b.ckpt", trained, drop)
    with pytest.raises(InputError, match="no averaged weights .* in it. Pass weights raw"):
        read_blobgan(path)
    assert read_blobgan(path, weights="raw").weights == "raw"


@pytest.mark.parametrize("name", ["generator_ema.convs.0.conv.weight", "layout_net_ema.mlp.3.bias", "generator_ema."])
def test_what_is_missing_is_named(trained, name, tmp_path):
    path = written(tmp_path / "a.ckpt", trained, drop=(name,))
    network, _, entry = name.partition(".")
    with pytest.raises(InputError, match=f"{network}: '{entry}.*' is missing"):
        read_blobgan(path)


def test_buffers_that_nothing_uses_may_be_missing_or_of_other_sizes(trained, tmp_path):
    state = {name: value for name, value in state_dict(trained).items() if not name.endswith(".kernel")}
    state["generator_ema.noises.noise_0"] = torch.zeros(1, 1, 4, 4)  # as in files from before pictures were wide
    del state["generator_ema.noises.noise_1"]
    save_torch(tmp_path / "a.ckpt", {"state_dict": state, "hyper_parameters": small().to_hyper_parameters()})
    torch.testing.assert_close(pictures(read_blobgan(tmp_path / "a.ckpt")), expected(trained), **NEAR)


@pytest.mark.parametrize(("changes", "said"), [
    ({"c_model": 2}, "has shape"), ({"resolution": 32}, "'convs.2.conv.weight' is missing"),
    ({"size_in": 16, "override_c_in": 8}, "is not part of this network"),
    ({"n_features": 4}, "'mlp.8.weight' has shape"),
])
def test_weights_of_other_sizes_than_the_hyper_parameters_say(trained, changes, said, tmp_path):
    path = written(tmp_path / "a.ckpt", trained, config=small(**changes))
    with pytest.raises(InputError, match=said):
        read_blobgan(path)


def test_the_networks_come_from_the_file_not_from_a_preset(tmp_path):
    config = small(aspect_ratio=1, n_features=5, generator_channels={8: 5, 16: 7}, override_c_in=8, norm_features=False)
    file = pair(config)
    write_pair(tmp_path / "a.safetensors", config, file.generator, file.layout_net)
    found = read_blobgan(tmp_path / "a.safetensors")
    assert found.config.to_hyper_parameters() == config.to_hyper_parameters()
    assert found.generator.convs[0].conv.weight.shape[:3] == (1, 7, 5)


def test_our_checkpoint_opens_with_torch_and_has_the_published_layout(trained, tmp_path):
    config, path = small(), tmp_path / checkpoint_name(3, 40)
    optimizer = torch.optim.AdamW(trained["discriminator"].parameters(), betas=(0.0, 0.99))
    trained["discriminator"](torch.zeros(2, 3, 16, 32)).sum().backward()
    optimizer.step()
    write_checkpoint(path, config, trained, [optimizer.state_dict()] * 2, 3, 40)
    assert path.name == "epoch=3-step=40.ckpt"
    value = torch.load(path, weights_only=True)
    assert list(value) == ["epoch", "global_step", "pytorch-lightning_version", "state_dict", "callbacks",
                           "optimizer_states", "lr_schedulers", "hparams_name", "hyper_parameters"]
    assert (value["epoch"], value["global_step"], len(value["optimizer_states"])) == (3, 40, 2)
    assert [*dict.fromkeys(name.split(".")[0] for name in value["state_dict"])] == list(ORDER)
    assert value["hyper_parameters"] == config.to_hyper_parameters()
    assert load_lightning(path)["hyper_parameters"] == config.to_hyper_parameters()
    file = read_blobgan(path)
    assert file.step == 40
    torch.testing.assert_close(pictures(file), expected(trained), **NEAR)


def test_the_averaged_pair_alone(trained, tmp_path):
    path = tmp_path / "a.safetensors"
    write_pair(path, small(), trained["generator_ema"], trained["layout_net_ema"], epoch=1, step=9)
    state, metadata = load_safetensors(path)
    assert {name.split(".")[0] for name in state} == {"generator_ema", "layout_net_ema"}
    assert json.loads(metadata["hyper_parameters"])["layout_net"]["n_features_max"] == 3
    file = read_blobgan(path)
    assert (file.weights, file.step) == ("ema", 9)
    torch.testing.assert_close(pictures(file), expected(trained), **NEAR)
    save_safetensors(tmp_path / "b.safetensors", state, {})
    with pytest.raises(InputError, match="no 'hyper_parameters'"):
        read_blobgan(tmp_path / "b.safetensors")


def test_weights_stand_in_aligned_memory_whatever_the_container(trained, tmp_path):
    write_pair(tmp_path / "a.safetensors", small(), trained["generator_ema"], trained["layout_net_ema"])
    written(tmp_path / "b.ckpt", trained)
    for path in (tmp_path / "a.safetensors", tmp_path / "b.ckpt", Case(CONTAINER).file("tiny")):
        for value in read_blobgan(path).state_dict().values():
            assert value.data_ptr() % ALIGNMENT == 0


def test_only_the_pair_that_is_asked_for_is_read(trained, tmp_path):
    """The storages of the rest are cut out of the file, and nobody misses them."""
    path, names = written(tmp_path / "a.ckpt", trained), list(state_dict(trained))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.ckpt", "w") as new:
        for entry in old.infolist():
            place = entry.filename.partition("/data/")[2]
            if not (place.isdigit() and not names[int(place)].startswith(("generator_ema.", "layout_net_ema."))):
                new.writestr(entry.filename, old.read(entry))
    torch.testing.assert_close(pictures(read_blobgan(tmp_path / "b.ckpt")), expected(trained), **NEAR)


def test_T20_archives_given_for_checkpoints_say_which_is_which(trained, tmp_path):
    """What is called .tar may be torch's own file; what is packed is named."""
    path = written(tmp_path / "checkpoint.tar", trained)
    assert read_blobgan(path).weights == "ema"
    packed = tmp_path / "checkpoint.tar.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with tarfile.open(tmp_path / "real.tar", "w") as archive:
        archive.add(path, "bdd/checkpoint.tar")
    for place, kind in ((packed, "a gzip archive"), (tmp_path / "real.tar", "a tar archive")):
        with pytest.raises(InputError, match=f"{kind}.*Unpack it first"):
            read_blobgan(place)


def test_other_files_are_named(tmp_path):
    save_torch(tmp_path / "a.ckpt", {"state_dict": {"a.weight": torch.zeros(2)}, "hyper_parameters": {}})
    with pytest.raises(InputError, match="no BlobGAN in it"):
        read_blobgan(tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="no such file"):
        read_blobgan(tmp_path / "b.ckpt")
    with pytest.raises(InputError, match="expected ema or raw"):
        read_blobgan(tmp_path / "a.ckpt", weights="live")


@pytest.mark.parametrize("key", ["generator_ema.conv1.conv.weight", "layout_net_ema.mlp.1.weight"])
def test_what_is_no_tensor_is_named(trained, tmp_path, key):
    state = {**state_dict(trained), key: [1.0], 5: torch.zeros(1)}
    save_torch(tmp_path / "a.ckpt", {"state_dict": state, "hyper_parameters": small().to_hyper_parameters()})
    with pytest.raises(InputError, match=f"{key.partition('.')[2]}' is of type list, not a tensor"):
        read_blobgan(tmp_path / "a.ckpt")


def test_T22_weights_of_other_kinds_and_widths(trained, tmp_path):
    """Floats of any width become float32; whole and complex numbers are not weights, in either container."""
    values, state = small().to_hyper_parameters(), state_dict(trained)
    for kind, near in ((torch.float64, NEAR), (torch.bfloat16, {"rtol": 0.1, "atol": 0.3})):
        wide = {name: value.to(kind) for name, value in state.items()}
        save_torch(tmp_path / "a.ckpt", {"state_dict": wide, "hyper_parameters": values})
        torch.testing.assert_close(pictures(read_blobgan(tmp_path / "a.ckpt")), expected(trained), **near)
    for name in ("generator_ema.conv1.noise.weight", "layout_net_ema.mlp.1.bias"):
        for kind in (torch.int64, torch.bool, torch.complex64):
            other = {**state, name: state[name].to(kind)}
            save_torch(tmp_path / "a.ckpt", {"state_dict": other, "hyper_parameters": values})
            with pytest.raises(InputError, match=f"is of {str(kind).removeprefix('torch.')}, expected floats"):
                read_blobgan(tmp_path / "a.ckpt")


def test_no_hyper_parameters(trained, tmp_path):
    save_torch(tmp_path / "a.ckpt", {"state_dict": state_dict(trained)})
    with pytest.raises(InputError, match="no 'generator'"):
        read_blobgan(tmp_path / "a.ckpt")


def test_the_mean_latent_is_seeded_cached_and_repaired(trained, tmp_path):
    path = written(tmp_path / "a.ckpt", trained)
    mean = read_blobgan(path).mean_latent()
    (cached,) = (tmp_path / "cache" / "mean_latents").iterdir()
    assert mean.shape == (12,)
    assert mean.equal(read_blobgan(path).mean_latent())
    stamp = cached.stat().st_mtime_ns
    read_blobgan(path).mean_latent()
    assert cached.stat().st_mtime_ns == stamp  # read, not made again
    cached.write_bytes(b"no archive")
    torch.testing.assert_close(read_blobgan(path).mean_latent(), mean)
    read_blobgan(path, weights="raw").mean_latent()
    assert len(list((tmp_path / "cache" / "mean_latents").iterdir())) == 2
    z = torch.randn(4000, 10, generator=torch.Generator().manual_seed(1))
    about = trained["layout_net_ema"].latent(z).mean(dim=0)
    torch.testing.assert_close(mean, about.detach(), rtol=0.1, atol=0.1)
    file = read_blobgan(path)
    whole = file.layouts(noise(), truncation=1)
    torch.testing.assert_close(whole.xs[0], whole.xs[1])


def test_the_same_weights_times_another_factor_have_another_mean_latent(trained, tmp_path):
    means = [read_blobgan(written(tmp_path / f"{factor}.ckpt", trained, config=small(mlp_lr_mul=factor))).mean_latent()
             for factor in (0.01, 0.5)]
    assert not torch.allclose(*means, rtol=0.1)


def test_a_model_of_fewer_blobs_uses_the_first_ones(trained, tmp_path):
    path = written(tmp_path / "a.ckpt", trained, config=small(n_features_max=2))
    blobs = read_blobgan(path).layouts(noise())
    assert blobs.xs.shape == (2, 2)
    assert blobs.spatial_style.shape == (2, 3, 6)


def test_a_model_with_one_style_for_the_picture(tmp_path):
    config = small(spatial_style=False, dim=10, n_mlp=2)
    write_checkpoint(tmp_path / "a.ckpt", config, networks(config))
    file = read_blobgan(tmp_path / "a.ckpt")
    blobs = file.layouts(noise())
    assert blobs.spatial_style.shape == (2, 4, 10)
    assert file.render(blobs).shape == (2, 3, 16, 32)


def outermost(body):
    """Return what hides in different places of a container."""
    text = hostile.text
    return {"a weight": text("state_dict") + b"}" + text("layout_net_ema.mlp.1.weight") + body + b"s",
            "a hyper-parameter": text("hyper_parameters") + b"}" + text("lr") + body + b"s",
            "an optimiser": text("optimizer_states") + b"](" + body + b"e",
            "a callback": text("callbacks") + b"}" + text("a") + body + b"s"}


CALLS = {"os.system": "'os.system'", "posix.system": "'posix.system'", "builtins.eval": "'builtins.eval'",
         "builtins.getattr": "'builtins.getattr'", "subprocess.Popen": "'subprocess.Popen'",
         "torch.load": "'torch.load'", "pytorch_lightning_evil.run": "'pytorch_lightning_evil.run'",
         "omegaconf_evil.OmegaConf": "'omegaconf_evil.OmegaConf'"}
HOSTILE = [*((place, name) for place in ("a weight", "a hyper-parameter") for name in CALLS),
           ("an optimiser", "os.system"), ("an optimiser", "builtins.exec"), ("a callback", "shutil.rmtree"),
           ("a callback", "runpy.run_path")]


@pytest.mark.parametrize(("place", "name"), HOSTILE)
def test_T22_hostile_containers_are_refused_by_name(place, name, tmp_path, monkeypatch):
    """Whatever it would call stands anywhere in the file, also where nothing is read."""
    assert len(HOSTILE) >= 20
    monkeypatch.chdir(tmp_path)
    body = hostile.call(name, hostile.text("touch ran"))
    parts = {**outermost(b"}"), place: outermost(body)[place]}
    hostile.zipped(tmp_path / "evil", b"}(" + b"".join(parts.values()) + b"u")
    check(read_blobgan, tmp_path / "evil", CALLS.get(name, f"'{name}'"))


def test_T22_damaged_containers_are_read_or_refused_in_one_line(tmp_path):
    data, path, said = Case(CONTAINER).file("tiny").read_bytes(), tmp_path / "a.ckpt", []
    for seed in range(200):
        path.write_bytes(mutate(data, seed))
        try:
            read_blobgan(path)
        except InputError as error:
            said.append(str(error))
    assert len(said) > 100
    assert all(line.startswith(str(path)) and "\n" not in line for line in said)
