"""Networks at discrete noise levels: levels by independent formulas, files that are read and refused. Golden cases hold
the outputs of the originals."""

import math

import numpy as np
import pytest
import torch

from common.diffusion.edm_sampling import Sampling, sample
from common.errors import InputError
from common.networks.adm_config import AdmConfig
from common.networks.adm_discrete import DiscretePrecond, noise_levels
from common.networks.adm_guided import parse_model_flags
from common.networks.adm_weights import load_adm, read_adm, save_adm
from tests.common.networks.adm_makers import SMALL, draws, small_network
from tests.common.networks.edm_pickles import arguments, dump, saved
from tests.common.networks.guided_files import FLAGS, guided_state


def iddpm_network(**changes):
    """Return a small DiscretePrecond with random weights."""
    config = AdmConfig(**{**SMALL, "precond": "iddpm", "M": 60, "out_channels": 6, **changes})
    network = DiscretePrecond(config)
    weights = small_network(out_channels=6).state_dict()
    network.load_state_dict({**weights, "u": network.u})
    return network.eval().requires_grad_(False)


def test_levels_by_the_formulas_of_the_papers():
    def level(kept):
        return math.sqrt((1 - kept) / kept)

    u, kept = noise_levels(AdmConfig(8, precond="linear", M=40)), 1.0
    assert (len(u), u[-1]) == (41, 0)
    for step in range(40):  # Ho et al. 2020, stretched to 40 steps
        kept *= 1 - 25 * (1e-4 + (0.02 - 1e-4) * step / 39)
        assert float(u[39 - step]) == pytest.approx(level(kept), rel=1e-6)
    for name in ("cosine", "iddpm"):  # one schedule, which both cut off before its end
        u = noise_levels(AdmConfig(8, precond=name, M=1000))
        for step in (0, 1, 10, 500, 900):
            kept = (math.cos(((step + 1) / 1000 + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2))
            assert float(u[999 - step]) == pytest.approx(level(kept**2), rel=2e-3 if name == "iddpm" else 1e-5)


def test_denoising_predicts_noise_at_the_nearest_level():
    network = iddpm_network()
    x, _, labels = draws(network)
    sigma = torch.tensor([float(network.u[57]) * 1.01, float(network.u[20]), float(network.u[3]) * 0.99])
    embedding = network.model.embed(torch.tensor([2.0, 39.0, 56.0]), labels)
    noise = network.model(x / (1 + sigma**2).sqrt()[:, None, None, None], embedding)[0][:, :3]
    torch.testing.assert_close(network(x, sigma, labels), x - sigma[:, None, None, None] * noise, rtol=1e-5, atol=1e-5)
    assert network.round_sigma(float(sigma[0])) == float(network.u[57])


def test_every_container_of_an_iddpm_network_loads(tmp_path):
    network = iddpm_network()
    given = draws(network)
    changed = network.u * 1.5  # the file's levels count, not those of its arguments
    network.u.copy_(changed)
    kwargs = {name: value for name, value in arguments(network).items() if not name.startswith("sigma")}
    pickled = dump({"ema": saved(network, "iDDPMPrecond", kwargs={**kwargs, "M": 60})})
    (tmp_path / "net.pkl").write_bytes(pickled)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    save_adm(tmp_path / "net.safetensors", network)
    for name in ("net.pkl", "net.pth", "net.safetensors"):
        loaded = load_adm(tmp_path / name)
        torch.testing.assert_close(loaded(*given), network(*given), rtol=1e-5, atol=1e-5)
        assert loaded.config.sigma_max == pytest.approx(float(changed[0]))
        assert loaded.config.sigma_min == pytest.approx(float(changed[-2]))


@pytest.mark.parametrize(("change", "message"), [
    (lambda state: {**state, "u": state["u"].flip(0)}, "not 61 numbers that descend to 0"),
    (lambda state: {**state, "u": state["u"] * float("nan")}, "not 61 numbers that descend to 0"),
    (lambda state: {name: value for name, value in state.items() if name != "u"}, "6 output channels, as under iDDPM")])
def test_levels_that_are_none_are_refused(tmp_path, change, message):
    torch.save(change(iddpm_network().state_dict()), tmp_path / "net.pth")
    with pytest.raises(InputError, match=message):
        load_adm(tmp_path / "net.pth")


def test_samplers_ask_for_the_networks_levels():
    network = iddpm_network()
    levels = Sampling("heun", 4, 20.0, 0.01).levels(network)
    assert set(levels) <= set(network.u.tolist())
    assert (len(levels), levels[-1]) == (5, 0.0)
    labels = np.array([0, 1])
    for sampling in (Sampling("heun", 3, S_churn=5), Sampling("heun", 9, 1.0, 0.7), Sampling("multistep", 3)):
        assert sample(network, sampling, 0, [0, 1], labels).isfinite().all()
    with pytest.raises(InputError, match=r"num_steps 9: two steps fall on one .* Use at most \d steps"):
        sample(network, Sampling("multistep", 9, 1.0, 0.7), 0, [0, 1], labels)


def without(*names):
    return lambda state: {name: value for name, value in state.items() if not name.startswith(names)}


def replaced(name, *shape):
    return lambda state: {**state, name: torch.zeros(shape)}


BROKEN = {
    "a classifier": (without("output_blocks"), "a classifier of guided-diffusion"),
    "convolutions between levels": (replaced("input_blocks.2.0.op.weight", 32, 32, 3, 3), "resblock_updown False"),
    "an upsampler": (replaced("input_blocks.0.0.weight", 32, 6, 3, 3), "takes 6 channels: an upsampler"),
    "no scale": (replaced("input_blocks.1.0.emb_layers.1.weight", 32, 128), "use_scale_shift_norm False"),
    "a missing entry": (without("middle_block.2.in_layers.0.bias"), "'middle_block.2.in_layers.0.bias' is missing"),
    "one too many": (replaced("more.weight", 3), "'more.weight' is not part of this network"),
    "a missing block": (without("input_blocks.3."), "is missing|blocks of guided-diffusion's network are missing"),
    "another shape": (replaced("out.0.weight", 3), r"has shape \(3,\), expected \(32,\)"),
    "no dimensions": (replaced("middle_block.1.qkv.weight"), "does not divide into attention heads"),
    "an odd embedding": (replaced("time_embed.0.weight"), "blocks of guided-diffusion's network are missing"),
    "NaN": (lambda state: {**state, "out.2.bias": torch.full((6,), float("nan"))}, "holds NaN"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_of_guided_diffusion_are_read_strictly(tmp_path, name):
    change, message = BROKEN[name]
    torch.save(change(guided_state()), tmp_path / "net.pt")
    with pytest.raises(InputError, match=message):
        load_adm(tmp_path / "net.pt", model_flags=FLAGS)


WRONG = {
    "--num_channels 64": "--num_channels 64 does not fit", "--noise_schedule squared": "--noise_schedule squared",
    "--num_res_blocks 2": "--num_res_blocks 2", "--class_cond False": "--class_cond False",
    "--learn_sigma False": "--learn_sigma False", "--attention_resolutions 8": "--attention_resolutions 8",
    "--attention_resolutions all": "--attention_resolutions all", "--channel_mult 1,1": "--channel_mult 1,1",
    "--num_heads 3": "not divisible into attention heads", "--num_head_channels 48": "attention heads of 48",
    "--num_heads_upsample 4": "--num_heads_upsample 4", "--predict_xstart True": "--predict_xstart True",
    "--num_chanels 32": "not a flag of guided-diffusion. Did you mean num_channels",
    "--num_channels": "no value follows",
    "--use_fp16 maybe": "is not a truth value", "--num_heads two": "is not a number", "'": "cannot be split",
    "--diffusion_steps 10": "needs more than 20 steps", "--image_size 0": "--attention_resolutions 4 does not fit",
}


@pytest.mark.parametrize("flags", WRONG)
def test_flags_that_contradict_the_weights_are_refused(tmp_path, flags):
    torch.save(guided_state(), tmp_path / "net.pt")
    with pytest.raises(InputError, match=WRONG[flags]):
        load_adm(tmp_path / "net.pt", model_flags=f"{FLAGS} {flags}")


def test_a_network_that_is_not_published_needs_its_flags(tmp_path):
    torch.save({"ema": guided_state()}, tmp_path / "net.pt")
    with pytest.raises(InputError, match="not one of guided-diffusion's published networks.*--model_flags"):
        load_adm(tmp_path / "net.pt")
    config = read_adm(tmp_path / "net.pt", model_flags=FLAGS.replace(" --", "  --").replace("size 8", "size=8")).config
    assert (config.img_resolution, config.label_dim, config.num_heads, config.precond) == (8, 5, 2, "linear")
    torch.save(small_network().state_dict(), tmp_path / "edm.pth")
    with pytest.raises(InputError, match="is not one of guided-diffusion. Omit the flags"):
        load_adm(tmp_path / "edm.pth", model_flags=FLAGS)
    assert parse_model_flags(None) is None


def test_training_under_edms_preconditioning_starts_from_no_other(tmp_path):
    from tools.train_edm.loop import restore

    torch.save(iddpm_network().state_dict(), tmp_path / "net.pth")
    with pytest.raises(InputError, match="predicts noise at discrete levels"):
        restore(small_network(), tmp_path / "net.pth")
