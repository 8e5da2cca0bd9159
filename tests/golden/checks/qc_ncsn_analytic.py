"""Check of area qc_ncsn on Gaussian data, whose score, likelihood, asymmetry and samples have closed forms."""

import numpy as np
import torch

from common.diffusion import score_samplers as samplers
from common.diffusion.denoiser import ScoreDenoiser
from common.diffusion.scores import Score
from common.images.pixels import to_uint8
from tests.golden.checks.qc_ncsn import Replay, build_sde
from tests.golden.compare import Judged, within
from tests.golden.registry import check
from tools.qc_ncsn.asymmetry import asymmetry, normalised
from tools.qc_ncsn.likelihood import bits_per_dim
from tools.qc_ncsn.losses import training_loss


def gaussian_score(case, rotation=False):
    """Return the exact score of N(mean, V diag(l) V^T), with the case's rotational part on request."""
    mean, values, vectors = (case.tensor(name) for name in ("mean", "eigenvalues", "eigenvectors"))
    skew = case.tensor("K") * case.tensor("rot_c")

    def score(x, sigma):
        centred = (x.double() - mean).flatten(1)
        variance = (sigma.double() ** 2)[:, None]
        s = -(centred @ vectors / (values + variance)) @ vectors.T
        if rotation:
            s = s + centred @ skew.T / variance
        return s.reshape(x.shape).to(x.dtype)

    return Score(score)


@check("qc_ncsn/analytic_gaussian")
def analytic_gaussian(case):
    ratios = {**_likelihood(case), **_asymmetry(case), **_dsm(case), **_samples(case)}
    return Judged(ratios)


def _likelihood(case):
    spec, limit, arrays = case.spec, case.spec["tolerance"], case.arrays
    score, sde, ratios = gaussian_score(case), build_sde(case), {}
    for setting, key in (("nll_tight", "bpd_abs_at_rtol_1e5"), ("nll_default", "bpd_abs_at_default")):
        for coupling in ("batch", "image"):
            bpd, z, _ = bits_per_dim(score, sde, case.tensor("x"), case.tensor("epsilon"), coupling=coupling,
                                     **spec[setting])
            ratios[f"bpd {setting} {coupling}"] = within(bpd, arrays["bpd_exact_given_epsilon"], atol=limit[key])
            if setting == "nll_tight":
                close = {"rtol": limit["z_rtol"], "atol_rel_to_max": limit["z_rtol"]}
                ratios[f"z {coupling}"] = within(z, arrays["z_exact"], **close)
    return ratios


def _asymmetry(case):
    limit, arrays, sde = case.spec["tolerance"]["asym_reference_rtol"], case.arrays, build_sde(case)
    x, ratios, got = case.tensor("x"), {}, {}
    for rotation in (True, False):
        for estimator in ("paper", "exact"):
            rows = []
            for index, level in enumerate(arrays["asym_levels"]):
                t = torch.full((len(x),), float(level) * (1 - sde.eps) + sde.eps)
                z, v = case.tensor("asym_z")[index], case.tensor("asym_v")[index]
                rows.append(asymmetry(gaussian_score(case, rotation), sde, x, t, z, v, estimator))
            got[rotation, estimator] = [torch.stack(part) for part in zip(*rows)]
    asym, norm = got[True, "paper"]
    ratios["asym"] = within(asym, arrays["asym_reference"], rtol=limit)
    ratios["nasym"] = within(normalised(asym, norm), arrays["nasym_reference"], rtol=limit)
    ratios["nasym without rotation"] = within(normalised(*got[False, "paper"]), np.zeros(asym.shape), atol=1e-4)
    exact, norm = got[True, "exact"]
    ratios["asym exact"] = within(exact.mean(1), arrays["asym_exact"], rtol=limit)
    ratios["nasym exact"] = within((0.5 * exact / norm).mean(1), arrays["nasym_exact_ratio"], rtol=limit)
    return ratios


def _dsm(case):
    """The loss is quadratic in data and noise, so its mean is that over D axis points of each, taken separately."""
    mean, values, vectors = (case.tensor(name) for name in ("mean", "eigenvalues", "eigenvectors"))
    size, score, sde, got = values.numel(), gaussian_score(case), build_sde(case), []
    centre = mean.expand(size, *mean.shape)
    data = centre + (vectors * torch.sqrt(size * values)).T.reshape(centre.shape)
    noise = (torch.eye(size, dtype=torch.float64) * size**0.5).reshape(centre.shape)
    for time in case.arrays["dsm_t"]:
        t = torch.full((size,), float(time), dtype=torch.float64)
        parts = [training_loss(score, sde, x0, t, z)[0].mean() for x0, z in ((data, noise * 0), (centre, noise))]
        got.append(float(sum(parts)))
    return {"dsm": within(np.array(got), case.arrays["dsm_loss_exact"], rtol=1e-5)}


def _samples(case):
    spec, limit, arrays = case.spec, case.spec["tolerance"], case.arrays
    score, sde, ratios = gaussian_score(case), build_sde(case), {}
    for coupling in ("batch", "image"):
        for name, denoise in (("ode_sample_exact_before_denoise", False), ("ode_sample_exact", True)):
            sigmas = [sde.sigma_max, sde.sigma_min, *([0.0] if denoise else [])]
            sample = samplers.sample_ode(ScoreDenoiser(score), lambda: case.tensor("ode_z_T").double() / sde.sigma_max,
                                         sigmas, eps=sde.eps, coupling=coupling, **spec["ode"])
            ratios[f"{name} {coupling}"] = within(sample, arrays[name], atol=limit["ode_abs"])
    pc = spec["pc"]
    pairs = zip(case.tensor("pc_z_corrector"), case.tensor("pc_z_predictor"))
    noise = Replay(case.tensor("pc_z_prior"), *(z for pair in pairs for z in pair))
    options = samplers.PCOptions(snr=pc["snr"], n_steps_each=pc["n_steps_each"],
                                 noise_removal=pc["noise_removal"], coupling="batch")
    sample = samplers.sample_pc(ScoreDenoiser(score), noise, sde.reverse_sigmas(pc["N"]), options, sde)
    ratios["pc_sample"] = within(sample, arrays["pc_sample"], atol=limit["pc_abs"])
    uint8 = to_uint8(sample, "unit").astype(int) - arrays["pc_sample_uint8_nhwc"].astype(int)
    ratios["pc_sample_uint8"] = 0.0 if np.abs(uint8).max() <= 1 and np.mean(uint8 != 0) < 0.02 else float("inf")
    return ratios
