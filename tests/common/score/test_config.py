"""Every preset builds; published names are aliases; overrides are typed and checked."""

import pytest

from common.errors import InputError
from common.score.config import BASE, DATASETS, PRESETS, complete, override, preset
from common.score.models import build_network, network_config, trainable
from common.score.ranges import check_config

PUBLISHED = ("cifar10", "cifar100", "svhn", "imagenet")
SAMPLING = {"qc": 1e-4, "u": 5e-5, "c": 5e-5}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_sound_and_shapes_a_network(name):
    config = check_config(preset(name))
    assert config["model"]["energy"] == name.startswith("c_")
    assert config["training"]["n_iters"] > config["training"]["init_step"]
    shape = network_config(config)
    assert (shape.nf, shape.num_channels, shape.image_size) == (
        config["model"]["nf"], config["data"]["num_channels"], config["data"]["image_size"])
    small = override(config, ["model.nf=4", "model.num_res_blocks=1"])
    network = build_network(small)
    assert len(trainable(network)) + 1 == len(list(network.parameters()))


def test_presets_name_every_family_and_data_set():
    assert set(PRESETS) == {f"{family}_{dataset}" for family in ("u", "c", "qc") for dataset in DATASETS}


def test_the_published_network_has_the_published_number_of_parameters():
    network = build_network(preset("qc_cifar10"))
    assert sum(parameter.numel() for _, parameter in trainable(network)) == 107_586_947


def test_a_preset_lies_between_the_embedded_datas_and_the_published_network():
    config = preset("u_cifar10_small")
    assert sum(parameter.numel() for _, parameter in trainable(build_network(config))) == 10_104_387
    assert config["data"] == preset("u_cifar10")["data"]
    assert "10 million parameters" in PRESETS["qc_cifar10_small"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_u_has_no_regulariser_and_starts_at_0(dataset):
    config = preset(f"u_{dataset}")
    assert config["loss"]["balancing_fac"] == 0
    assert config["training"]["init_step"] == 0
    assert preset(f"qc_{dataset}")["loss"]["balancing_fac"] > 0
    assert preset(f"c_{dataset}")["loss"]["balancing_fac"] == 0
    assert preset(f"c_{dataset}")["training"]["init_step"] == 0


def test_qc_goes_on_from_the_published_steps():
    steps = {dataset: preset(f"qc_{dataset}")["training"] for dataset in PUBLISHED}
    assert {name: (values["init_step"], values["n_iters"]) for name, values in steps.items()} == {
        "cifar10": (600000, 750001), "cifar100": (600000, 750001), "imagenet": (600000, 750001),
        "svhn": (300000, 450001),
    }


@pytest.mark.parametrize("family", ["u", "c", "qc"])
@pytest.mark.parametrize("dataset", PUBLISHED)
def test_published_configuration_paths_are_aliases(family, dataset):
    folder = f"configs/{family}_ncsn"
    for path in (f"{folder}/training/{dataset}_ncsnpp_deep_continuous.py",
                 f"/old/place/{folder}/training/{dataset}_ncsnpp_deep_continuous.py"):
        assert preset(path) == preset(f"{family}_{dataset}")
    ode = preset(f"{folder}/evaluation/eval_{dataset}_config_ode.py")["sampling"]
    assert (ode["method"], ode["rtol"], ode["atol"]) == ("ode", SAMPLING[family], 1e-6)
    pc = preset(f"{folder}/evaluation/eval_{dataset}_config.py")["sampling"]
    assert pc["method"] == "pc"
    noisy = (family, dataset) == ("c", "svhn")
    assert (pc["snr"], pc["noise_removal"]) == ((0.001, False) if noisy else (0.16, True))


def test_overrides_keep_the_kind_of_what_they_replace():
    config = override(preset("u_digits"), ["model.nf=32", "model.ch_mult=1,1,2", "optim.lr=1", "data.random_flip=true",
                                           "data.dataset=photos32", "model.attn_resolutions=(8)"])
    assert config["model"]["nf"] == 32
    assert config["model"]["ch_mult"] == (1, 1, 2)
    assert config["model"]["attn_resolutions"] == (8,)
    assert config["optim"]["lr"] == 1.0
    assert isinstance(config["optim"]["lr"], float)
    assert config["data"]["random_flip"] is True
    assert config["data"]["dataset"] == "photos32"
    assert preset("u_digits")["model"]["nf"] != 32  # the table itself is left as it was


@pytest.mark.parametrize(("entry", "said"), [
    ("model.nff=3", "Did you mean model.nf?"), ("nf=3", "no such entry"), ("model.nf", "expected a value"),
    ("model=3", "no such entry"),
    ("model.nf=x", "expected an integer, not 'x'"), ("data.random_flip=maybe", "expected true or false"),
    ("optim.lr=fast", "expected a number"),
    ("model.ch_mult=a,b", "expected a list of integers"), ("model.fir=false", "only True is supported"),
])
def test_wrong_overrides_are_named(entry, said):
    with pytest.raises(InputError, match=r"--config\.") as caught:
        override(preset("u_digits"), [entry])
    assert said in str(caught.value)


def test_a_configuration_from_a_file_is_completed_with_what_came_later():
    stored = preset("u_digits")
    del stored["sampling"]["eta"], stored["eval"]
    assert complete(stored, "x.pth")["sampling"]["eta"] == BASE["sampling"]["eta"]
    assert complete(stored, "x.pth")["model"] == preset("u_digits")["model"]
    del stored["model"]["nf"]
    with pytest.raises(InputError, match="x.pth: its configuration lacks a valid model.nf"):
        complete(stored, "x.pth")
