"""Checks of area qc_ncsn that run a network: forward, losses, training steps, asymmetry, samplers, likelihood."""

import itertools
import json

import numpy as np
import torch

from common.diffusion import score_samplers as samplers
from common.diffusion.denoiser import CountedCalls, ScoreDenoiser
from common.diffusion.scores import drift, make_score
from common.diffusion.sde import VESDE
from common.formats.checkpoints import load_strictly, load_torch
from common.images.pixels import to_uint8
from common.networks.ncsnpp import NCSNpp, NetworkConfig, outline
from common.score.container import read_checkpoint
from common.score.models import load_weights, trainable
from common.training.ema import Average, ramp_up
from tests.golden.compare import Judged, to_numpy, within
from tests.golden.registry import check
from tools.qc_ncsn.asymmetry import asymmetry, normalised
from tools.qc_ncsn.likelihood import bits_per_dim, drift_and_divergence
from tools.qc_ncsn.losses import hutchinson_asymmetry, training_loss
from tools.qc_ncsn.train.step import make_average, make_optimiser


def build(case):
    """Return the case's network with its filled weights."""
    values = case.spec["config"]
    names = NetworkConfig.__dataclass_fields__
    network = outline(NetworkConfig(**{name: tuple(value) if isinstance(value, list) else value
                                       for name, value in values.items() if name in names}))
    load_strictly(network, {name.removeprefix("module."): tensor for name, tensor in case.state_dict().items()}, "case",
                  assign=True)
    return network.eval()


def build_score(case):
    """Return the case's score, an energy's gradient for the C family."""
    network = build(case).requires_grad_(False)
    return make_score(network, case.spec["config"].get("energy", False))


def build_sde(case):
    """Return the VE SDE with the levels that the case names."""
    values = {**case.spec.get("config", {}), **case.spec.get("sde", {})}
    return VESDE(values.get("sigma_min", 0.01), values.get("sigma_max", 50.0),
                 case.spec.get("eps", values.get("eps", 1e-5)))


class Replay:
    """The case's arrays in place of random draws."""

    def __init__(self, *tensors):
        self.tensors = list(tensors)

    def __call__(self):
        return self.tensors.pop(0)


@check("qc_ncsn/forward")
def forward(case):
    network, got = build(case), {}
    hooks = {name: number for name in case.arrays if name.startswith("after_module_")
             for number in [int(name.removeprefix("after_module_"))]}
    for name, number in hooks.items():
        network.all_modules[number].register_forward_hook(lambda m, i, out, name=name: got.__setitem__(name, out))
    if "after_lastnorm" in case.arrays:
        network.all_modules[-2].register_forward_hook(lambda m, i, out: got.__setitem__("after_lastnorm", out))
    with torch.no_grad():
        got["y"] = network(case.tensor("x"), case.tensor("sigma"))
    types = [type(module).__name__ for module in network.all_modules]
    ratios = {}
    if "module_types" in case.spec:
        ratios["module_types"] = 0.0 if types == case.spec["module_types"] else float("inf")
    if "n_trainable" in case.spec:
        count = sum(p.numel() for p in network.parameters() if p.requires_grad)
        ratios["n_trainable"] = within(count, case.spec["n_trainable"])
    names = [row["name"].removeprefix("module.") for row in case.manifest()]
    ratios["state_dict order"] = 0.0 if names == list(network.state_dict()) else float("inf")
    return Judged(ratios, got)


@check("qc_ncsn/loss")
def loss(case):
    spec, sde, details = case.spec, build_sde(case), {}
    network = build(case).train()
    score = make_score(network, spec["config"].get("energy", False))
    x0, z, v, factor = case.tensor("x0"), case.tensor("z"), case.tensor("v"), spec["balancing_fac"]
    t = sde.train_time(case.tensor("u"))
    dsm, reg = training_loss(score, sde, x0, t, z, v, factor, details=details,
                             likelihood_weighting=spec.get("likelihood_weighting", False))
    total = (dsm + factor * reg).mean()
    total.backward()
    if factor <= 0:  # these cases hold the products too, though the loss does not need them
        network.eval()
        hutchinson_asymmetry(score.linearise(details["x_t"].detach(), sde.sigma(t))[1], v, details)
    copies = (v.shape[0] // x0.shape[0], 1, 1, 1)
    parameters = {f"module.{name}": parameter for name, parameter in network.named_parameters()}
    got = {"loss": dsm.mean(), "reg": reg.mean(), "total": total, "t": t, "sigma": sde.sigma(t)}
    got |= {name: details[name] for name in ("JTv", "JTJTv", "term_JJt", "term_JJ")}
    got |= {name: details[name].repeat(copies) for name in ("x_t", "score")}
    got["grad_norms"] = np.array([parameters[name].grad.norm() for name in spec["grad_norm_names"]])
    got |= {name: parameters[name.removeprefix("grad__")].grad for name in case.arrays if name.startswith("grad__")}
    return {name: value for name, value in got.items() if name in case.arrays}


@check("qc_ncsn/asym")
def asym(case):
    score, sde = build_score(case), build_sde(case)
    rows = []
    for index, level in enumerate(case.arrays["noise_levels"]):
        x0 = case.tensor("x0")
        t = torch.full((len(x0),), float(level) * (1 - sde.eps) + sde.eps)
        rows.append(asymmetry(score, sde, x0, t, case.tensor("z")[index], case.tensor("v")[index]))
    values, norms = (torch.stack(part) for part in zip(*rows))
    ratio = normalised(values, norms)
    got = {"asym": values, "nasym": ratio, "asym_level_mean": values.mean(1), "nasym_level_mean": ratio.mean(1)}
    limit = case.spec["tolerance"].get("nasym_abs")
    if limit is None:
        return got
    # A gradient field: Asym is rounding of sums of size ||J^T v||^2, so NAsym is what says how small it is.
    return Judged({name: within(got[name], case.arrays[name], atol=limit) for name in ("nasym", "nasym_level_mean")})


@check("qc_ncsn/sample_pc")
def sample_pc(case):
    spec, arrays, trace = case.spec, case.arrays, []
    score, sde, steps = build_score(case), build_sde(case), spec["N"]
    corrector = case.tensor("z_corrector").reshape(steps, spec["n_steps_each"], *arrays["z_prior"].shape)
    noises = [case.tensor("z_prior")]
    for index in range(steps):
        noises += [*corrector[index], case.tensor("z_predictor")[index]]
    noises += [case.tensor("z_last")] if "z_last" in arrays else []
    options = samplers.PCOptions(snr=spec["snr"], n_steps_each=spec["n_steps_each"],
                                 noise_removal=spec["noise_removal"], last_step_snr=spec["last_step_snr"],
                                 coupling="batch")
    counted = CountedCalls(score, len(arrays["z_prior"]))
    sigmas = sde.reverse_sigmas(steps)
    sample = samplers.sample_pc(ScoreDenoiser(counted), Replay(*noises), sigmas, options, sde, trace)
    after_corrector, after_predictor = (torch.stack(part) for part in zip(*trace))
    got = {"sample": sample, "x_after_corrector": after_corrector, "x_after_predictor": after_predictor,
           "nfe": int(counted.calls[0]), "timesteps": sde.timesteps(steps),
           "discrete_sigmas": sde.discrete_sigmas(steps)}
    if spec["noise_removal"]:
        got["x_mean_last"] = sample
    got = {name: value for name, value in got.items() if name in arrays}
    return Judged({"sample_uint8_nhwc": _uint8_ratio(sample, arrays["sample_uint8_nhwc"])}, got)


def _uint8_ratio(sample, expected):
    """Return 0 when pixels are equal but for single grey levels where 255 x lies within rounding of an integer."""
    difference = np.abs(to_uint8(sample, "unit").astype(int) - expected.astype(int))
    fraction = np.abs(sample.numpy() * 255 % 1 - 0.5).transpose(0, 2, 3, 1)
    return float(np.where(fraction > 0.45, np.maximum(difference - 1, 0), difference).max()) * np.inf if (
        np.where(fraction > 0.45, np.maximum(difference - 1, 0), difference).max() > 0) else 0.0


@check("qc_ncsn/sample_ode")
def sample_ode(case):
    spec, score, sde = case.spec, build_score(case), build_sde(case)
    start, tolerances = case.tensor("z_T"), {"rtol": spec["rtol"], "atol": spec["atol"], "coupling": "batch"}
    sigmas, counted = [sde.sigma_max, sde.sigma_min], CountedCalls(score, len(start))
    before, sample = (samplers.sample_ode(ScoreDenoiser(function), lambda: start.double() / sde.sigma_max, levels,
                                          eps=sde.eps, **tolerances)
                      for function, levels in ((counted, sigmas), (score, [*sigmas, 0.0])))
    times, points = case.tensor("drift_t"), case.tensor("drift_x")
    with torch.no_grad():
        drifts = torch.stack([drift(score, sde, x, t.expand(len(x))) for t, x in zip(times, points)])
    nfe = within(int(counted.calls[0]), case.arrays["nfe"], atol=spec["tolerance"]["nfe_may_differ_by"])
    return Judged({"nfe": nfe}, {"sample": sample, "sample_before_denoise": before, "drift": drifts})


@check("qc_ncsn/nll")
def nll(case):
    spec, limit, score, sde = case.spec, case.spec["tolerance"], build_score(case), build_sde(case)
    velocities, divergences = [], []
    epsilon = case.tensor("epsilon")
    with torch.no_grad():
        for t, x in zip(case.tensor("div_t"), case.tensor("div_x")):
            velocity, divergence = drift_and_divergence(score, sde, x, t.expand(len(x)), epsilon)
            velocities.append(velocity)
            divergences.append(divergence)
    bpd, _, calls = bits_per_dim(score, sde, case.tensor("x0"), epsilon, spec["rtol"], spec["atol"], "batch",
                                 spec["offset"])
    close = {"rtol": limit["div_rtol"], "atol_rel_to_max": limit["div_atol_rel_to_max"]}
    return Judged({
        "bpd": within(bpd, case.arrays["bpd"], atol=limit["bpd_abs"]),
        "nfe": within(int(calls[0]), case.arrays["nfe"], atol=limit["nfe_may_differ_by"]),
        "drift": within(torch.stack(velocities), case.arrays["drift"], **close),
        "div": within(torch.stack(divergences), case.arrays["div"], **close),
    })


@check("qc_ncsn/train_steps")
def train_steps(case):
    ratios, _ = _train(case)
    return Judged(ratios)


@check("qc_ncsn/train_ckpt")
def train_ckpt(case):
    ratios, network = _train(case)
    path, spec = case.file(next(iter(case.spec["files"]))), case.spec["checkpoint"]
    state = read_checkpoint(path)
    entries = [[name, list(tensor.shape), str(tensor.dtype)] for name, tensor in state["model"].items()]
    ratios["container"] = 0.0 if entries == spec["model"] and set(state) >= set(spec["top_keys"]) else float("inf")
    for weights in ("raw", "ema"):
        load_weights(network, state, path, weights)
        with torch.no_grad():
            got = network.eval()(case.tensor("probe_x"), case.tensor("probe_sigma"))
        ratios[f"probe_{weights}"] = within(got, case.arrays[f"probe_y_{weights}"], rtol=1e-3, atol_rel_to_max=1e-4)
    optimiser = torch.optim.Adam(network.parameters())
    optimiser.load_state_dict(state["optimizer"])
    ids = sorted(optimiser.state_dict()["state"])
    ratios["optimiser"] = 0.0 if ids == spec["optimizer"]["state_ids"] else float("inf")
    # What we would write after the same steps has the same entries in the same order.
    names = [f"module.{name}" for name, _ in trainable(network)]
    ratios["shadow order"] = 0.0 if names == spec["ema"]["shadow_names_in_order"] else float("inf")
    ratios["raw again"] = 0.0 if json.dumps(list(load_torch(path))) == json.dumps(list(state)) else float("inf")
    return Judged(ratios)


def _train(case):
    """Run the case's steps; return ({what: error over tolerance}, the trained network)."""
    spec, arrays, limit, sde = case.spec, case.arrays, case.spec["tolerance"], build_sde(case)
    optim = {**spec["optim"], "schedule": "constant"}
    network = build(case).train()
    score = make_score(network, spec["config"].get("energy", False))
    start = {name: parameter.detach().clone() for name, parameter in trainable(network)}
    optimiser = make_optimiser(network, optim, 0)
    optimiser.updates = optim["step_start"]
    average = make_average(network, optim["ema_rate"])
    rows = []
    for index in range(len(arrays["x0"])):
        x0, z, v = (case.tensor(name)[index] for name in ("x0", "z", "v"))
        dsm, reg = training_loss(score, sde, x0, sde.train_time(case.tensor("u")[index]), z, v, spec["balancing_fac"],
                                 likelihood_weighting=spec.get("likelihood_weighting", False))
        optimiser.optimiser.zero_grad()
        (dsm + spec["balancing_fac"] * reg).mean().backward()
        norm = optimiser.norm()
        rate = optimiser.step(norm)
        average.update()
        rows.append((float(dsm.mean().detach()), float(reg.mean().detach()), rate, float(norm)))
    ratios = {name: within(got, arrays[name], rtol=limit["loss_rtol"])
              for name, got in zip(("loss", "reg", "lr", "grad_norm_before_clip"), np.array(rows).T)}
    end = dict(trainable(network))
    shadow = dict(zip(end, average.shadow))
    for key, tensors in (("delta_norms", end), ("ema_delta_norms", shadow)):
        moved = np.array([float((tensors[name] - start[name]).norm().detach()) for name in start])
        ratios[key] = within(moved, arrays[key], rtol=limit["norm_rtol"], atol=limit["param_abs"])
    for name in arrays:
        source = {"param__": end, "ema__": shadow}.get(name.partition("module.")[0])
        if source is not None:
            got = source[name.partition("module.")[2]].detach()
            ratios[name] = within(got, arrays[name], atol=limit["param_abs"])
    ratios["updates"] = within(optimiser.updates, arrays["step_end"])
    ratios["ema updates"] = within(average.count, arrays["ema_num_updates"])
    return ratios, network


@check("qc_ncsn/ema")
def ema(case):
    arrays, settings = case.arrays, {name: name.removeprefix("shadow_decay")
                                     for name in case.arrays if "shadow" in name}
    got = {}
    for name, setting in settings.items():
        digits, _, start = setting.partition("_from_")
        p, q = (case.tensor(key).clone() for key in ("p0", "q0"))
        average = Average([p, q], ramp_up(float(f"{digits[0]}.{digits[1:]}")))
        average.count = int(start or 0)
        rows = []
        for dp, dq in zip(case.tensor("dp"), case.tensor("dq")):
            p.copy_(case.tensor("p0") + dp)
            q.copy_(case.tensor("q0") + dq)
            average.update()
            rows.append(torch.cat([value.flatten().clone() for value in average.shadow]))
        got[name] = torch.stack(rows)
    assert set(got) <= set(arrays)
    return got


@check("qc_ncsn/sde_tables")
def sde_tables(case):
    sde, got = build_sde(case), {}
    for name in case.arrays:
        kind, _, count = name.rpartition("_")
        if count.isdigit():
            count = int(count)
            got[name] = {
                "timesteps": lambda n: sde.timesteps(n),
                "index": lambda n: torch.arange(n - 1, -1, -1),
                "G": lambda n: torch.tensor([(level**2 - below**2) ** 0.5 for level, below in itertools.pairwise(
                    sde.reverse_sigmas(n))]),
                "sigma_cont": lambda n: sde.sigma(sde.timesteps(n)),
                "discrete_sigmas": lambda n: sde.discrete_sigmas(n),
            }[kind](count)
    got["g"] = sde.diffusion(case.tensor("t"))
    got["prior_logp"] = sde.prior_logp(case.tensor("prior_z"))
    buffer = case.arrays["model_sigmas_buffer"]
    got["model_sigmas_buffer"] = NCSNpp(NetworkConfig(image_size=8, nf=4, ch_mult=(1,), num_res_blocks=1,
                                                      attn_resolutions=(),
                                                      num_scales=len(buffer), sigma_min=sde.sigma_min,
                                                      sigma_max=sde.sigma_max)).sigmas
    return {name: to_numpy(value) for name, value in got.items()}
