"""Checks of area blobex: losses of encoders, steps of inversions and searches, rows of target blobs, flips."""

import numpy as np
import torch

from common.blobs.inversion import InversionWeights, inversion_objective, inversion_terms
from common.blobs.perceptual import LpipsDistance
from common.blobs.rows import blob_optimiser, free_rows, put_rows, take_rows
from common.blobs.search import flip_loss, flipped, opposite, proximity
from common.formats.checkpoints import load_strictly
from common.networks.blobgan.discriminator import LayoutEncoder
from common.networks.blobgan.layout import Blobs
from common.networks.decision_networks import DRIVING, DecisionConfig, build_decision_model
from common.networks.lpips import Lpips
from tests.golden.checks.blobex_networks import blobs_of, loaded, named, network_pair, noise_maps
from tests.golden.compare import Judged, within
from tests.golden.registry import check
from tools.train_encoder.losses import Losses, Scene
from tools.train_encoder.options import RECT

STEPS = 3
TOLERANCE = {"rtol": 1e-3}  # of losses; those of gradients and blobs stand beside where they are used


class Networks:
    """The networks of a case: gan parts, encoder, decision model, LPIPS; and its noise maps."""

    def __init__(self, case):
        config, state = case.spec["config"], case.state_dict()
        self.layouts, self.generator = network_pair(case, state=state)
        self.encoder = loaded(LayoutEncoder(config["size"], config["aspect_ratio"], config["mlp_hidden_dim"],
                                            config["encoder_channel_multiplier"]), state, "encoder.")
        size = config["size"], int(config["size"] * config["aspect_ratio"])
        self.decision = loaded(build_decision_model(DecisionConfig("densenet121", DRIVING, size)), state, "decision.")
        self.lpips = LpipsDistance(lpips_of(state))
        for network in (self.layouts, self.generator, self.encoder, self.decision.eval()):
            network.requires_grad_(False)
        self.noise = noise_maps(case, len(self.generator.noise_shapes()))

    def render(self, blobs, roles=None):
        """Return the pictures of Blobs with the case's noise."""
        return self.generator(blobs, self.noise)

    def distance(self, first, second):
        """Return LPIPS (B,)."""
        return compare_with_gradient(self.lpips, first, second)


def compare_with_gradient(perceptual, first, second):
    """Return the distances (B,) of images, derivatives included."""
    return perceptual.distance(perceptual.features(first), perceptual.features(second))


def lpips_of(state):
    """Return LPIPS with the weights of a case, whose names are those of the package."""
    network = Lpips("vgg")
    own = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "lpips" and parts[1] == "net":
            own[f"features.{parts[3]}.{parts[4]}"] = value
        elif parts[0] == "lpips" and parts[1] == "lins":
            own[f"lins.{parts[2]}"] = value
    load_strictly(network, own, "case")
    return network.eval().requires_grad_(False)


@check("blobex/explain")
def explain(case):
    """Losses of the encoder, then steps of an inversion and of three searches, each from where the case begins."""
    networks = Networks(case)
    ratios = encoder_losses(case, networks)
    ratios |= inversion(case, networks)
    with torch.no_grad():
        start = blobs_of(case, "inv_blob3_")
        ratios["cf_init_scores"] = close(case, "cf_init_scores", networks.decision(networks.render(start)))
    for name in ("style", "all", "masked"):
        ratios |= search(case, networks, start, name)
    return Judged(ratios)


def close(case, name, got, **limits):
    """Return the error over tolerance of a loss, score or picture."""
    return within(got, case.arrays[name], **(limits or {**TOLERANCE, "atol": 1e-5}))


@torch.no_grad()
def encoder_losses(case, networks):
    """Return the ratios of both stages' losses and what they are computed from."""
    latents = networks.layouts.latent(case.tensor("z"))
    blobs = networks.layouts.decode(latents)
    scene = Scene({"real": case.tensor("real"), "fake": networks.render(blobs)}, latents, blobs)
    count, ratios = scene.count, {}
    for kind in ("l1", "l2"):
        weights = {**RECT, "fake_vector_MSE": 1.0} if kind == "l1" else {"real_MSE": 1.0, "fake_MSE": 1.0}
        losses = Losses(weights, kind, networks.lpips, networks.decision)
        objective, values = losses(scene, networks.encoder, networks.layouts.decode, networks.render)
        found = dict(zip(losses.names, [value / count for value in values]))
        for term, value in found.items():
            name = term.replace("lpips", "LPIPS") + (f"_{kind}" if term.endswith(("real_MSE", "fake_MSE")) else "")
            name = {"loss": f"enc_total_{kind}", "fake_vector_MSE": "pretrain_loss"}.get(term, f"enc_{name}")
            if term == "loss" and kind == "l1":
                value = value - found["fake_vector_MSE"]
            if name in case.arrays:
                ratios[name] = close(case, name, value)
    pictures = {"latent_z": latents, "fake": scene.pictures["fake"],
                "enc_fake": networks.encoder(scene.pictures["fake"]), "enc_real": networks.encoder(case.tensor("real"))}
    return ratios | {name: close(case, name, value, rtol=1e-3, atol=1e-4) for name, value in pictures.items()}


def inversion(case, networks):
    """Return the ratios of an inversion's steps."""
    settings, target = case.spec["config"]["inversion"], case.tensor("inv_target")
    weights = InversionWeights(settings["lambda_lpips"], settings["lambda_l2"], settings["lambda_decision"],
                               settings["lambda_prox"])
    with torch.no_grad():
        start = networks.layouts.decode(networks.encoder(target))
        features = networks.decision.features(target)
    parts = free_rows(start, Blobs._fields)
    adam, logs, ratios = blob_optimiser(parts, settings["lr"], settings["lr_sizes"]), [], {}
    for name, value in start._asdict().items():
        ratios[f"inv_blob0_{name}"] = close(case, f"inv_blob0_{name}", value)
    for step in range(settings["steps"]):
        blobs = put_rows(start, parts)
        image = networks.render(blobs)
        terms = inversion_terms(image, target, blobs, start, networks.distance, networks.decision.features, features)
        logs.append(terms)
        adam.zero_grad()
        inversion_objective(terms, weights).sum().backward()
        if step == 0:
            ratios |= gradients(case, parts, "inv_grad0_")
        adam.step()
        if step == 0:
            ratios |= moved(case, parts, "inv_blob1_", settings["lr"], settings["lr_sizes"])
    ratios |= moved(case, parts, "inv_blob3_", settings["lr"], settings["lr_sizes"])
    ratios["inv_img_before_step3"] = close(case, "inv_img_before_step3", image, rtol=1e-2, atol=2e-2)
    for term in ("l2", "lpips", "decision", "prox"):
        got = torch.stack([terms[term] for terms in logs]).detach()
        shape = case.arrays[f"inv_log_{term}"].shape
        got = got.mean(dim=1) if len(shape) == 1 else got
        ratios[f"inv_log_{term}"] = close(case, f"inv_log_{term}", got)
    return ratios


def search(case, networks, start, name):
    """Return the ratios of a search's steps."""
    settings, found, ratios = case.spec["config"]["cf"][name], {"flip_loss": [], "prox": [], "scores": []}, {}
    targets = case.spec["config"]["masked_blobs"] if name == "masked" else None
    attribute, lr = settings["attribute"], settings["lr"]
    wanted = opposite(case.tensor("cf_init_scores")[:, attribute])
    parts, before = (function(start, settings["features"], targets) for function in (free_rows, take_rows))
    adam = blob_optimiser(parts, lr / 8, lr)
    for step in range(STEPS):
        logits = networks.decision.logits(networks.render(put_rows(start, parts, targets)))
        losses = {"flip_loss": flip_loss(logits[:, attribute], wanted),
                  "prox": proximity(parts, before, settings["weights"])}
        for term, value in {**losses, "scores": networks.decision.scores(logits)}.items():
            found[term].append(value.detach())
        adam.zero_grad()
        (losses["flip_loss"] + settings["lambda_prox"] * losses["prox"]).sum().backward()
        if step == 0:
            ratios |= gradients(case, parts, f"cf_{name}_grad0_")
        adam.step()
    whole = put_rows(start, parts, targets)
    ratios |= moved(case, {each: getattr(whole, each) for each in parts}, f"cf_{name}_blob3_", lr / 8, lr)
    for term, rows in found.items():
        got = torch.stack(rows)
        ratios[f"cf_{name}_{term}"] = close(case, f"cf_{name}_{term}", got.mean(dim=1) if term == "prox" else got)
    ratios[f"cf_{name}_final_scores"] = close(case, f"cf_{name}_final_scores", found["scores"][-1])
    return ratios


def gradients(case, parts, prefix):
    """Return the ratios of the first step's gradients."""
    return {f"{prefix}{name}": within(part.grad, case.arrays[f"{prefix}{name}"], rtol=2e-3, atol_rel_to_max=2e-3)
            for name, part in parts.items()}


def moved(case, parts, prefix, lr, sizes_lr):
    """Return the ratios of blobs after steps of Adam: 99 % of the elements within 2 % of the rate; the others may have
    gone the other way, where the gradient is nearly zero."""
    ratios = {}
    for name, part in parts.items():
        expected = case.arrays[f"{prefix}{name}"]
        error = np.abs(part.detach().numpy().astype(np.float64) - expected)
        limit = 0.02 * (sizes_lr if name == "sizes" else lr)
        ratios[f"{prefix}{name}"] = float(np.quantile(error, 0.99, method="lower")) / limit
    return ratios


@check("blobex/blob_targeting_and_flips")
def blob_targeting_and_flips(case):
    """Rows of target blobs, put back with 100 added, and both counts of flips."""
    blobs, targets = blobs_of(case), case.spec["config"]["target_blobs"]
    parts = take_rows(blobs, Blobs._fields, targets)
    merged = put_rows(blobs, {name: part + 100 for name, part in parts.items()}, targets)
    before, after = case.tensor("init_scores"), case.tensor("final_scores")
    return {**{f"sub_{name}": part for name, part in parts.items()}, **named(merged, "merged_"),
            "flips_as_published": flipped(before, after, published=True).sum(dim=0),
            "flips_correct": flipped(before, after).sum(dim=0)}
