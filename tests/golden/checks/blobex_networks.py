"""Checks of area blobex that run BlobGAN's layout network, splatting and generator."""

import torch

from common.networks.blobgan.configuration import BlobGANConfig
from common.networks.blobgan.layout import Blobs
from common.networks.blobgan.splat import (
    Jitter,
    alphas,
    blob_colours,
    colour_table,
    composite,
    covariances,
    jitter,
    splat,
    stretched,
    width,
)
from tests.golden.compare import Judged, limits, within
from tests.golden.registry import check


def configuration(case):
    """Return the BlobGANConfig that a case's `config` describes."""
    given = case.spec["config"]
    names = {"K": "n_features", "size": "resolution", "style_dim": "dim",
             "discriminator_channel_multiplier": "discriminator_multiplier"}
    known = set(BlobGANConfig.__dataclass_fields__)
    values = {names.get(name, name): value for name, value in given.items()}
    return BlobGANConfig(**{name: value for name, value in values.items() if name in known}).checked()


def blobs_of(case, prefix="in_"):
    """Return the Blobs in a case's arrays."""
    return Blobs(*(case.tensor(f"{prefix}{name}") for name in Blobs._fields))


def named(blobs, prefix):
    """Return {array name: tensor} of Blobs."""
    return {f"{prefix}{name}": part for name, part in blobs._asdict().items()}


def loaded(network, state, prefix):
    """Return a network with the entries of a state dict under a prefix, strictly."""
    network.load_state_dict({name.removeprefix(prefix): value for name, value in state.items()
                             if name.startswith(prefix)})
    return network


@check("blobex/layout_net")
@torch.no_grad()
def layout_net(case):
    """Noise, latent, raw vector, blobs; truncated ones; and decoding from each place between the layers."""
    network = loaded(configuration(case).layout_net(), case.state_dict(), "layout_net.")
    z = case.tensor("z")
    latent, raw = network.latent(z), network.latent(z, "raw")
    found = {"latent": latent, "raw": raw, **named(network(z), "out_"),
             **named(network.decode(network.truncate(latent, case.tensor("mean_latent"), 0.3)), "trunc_")}
    found, ratios = {name: value for name, value in found.items() if name in case.arrays}, {}
    for mlp_idx in (-1, "raw", 1, len(network.mlp)):
        for name, part in named(network.decode(network.latent(z, mlp_idx), mlp_idx), "out_").items():
            if name not in case.arrays:  # no styles without spatial style
                continue
            ratios[f"{name} from {mlp_idx}"] = within(part, case.arrays[name], **limits(case.spec["tolerance"], name))
    return Judged(ratios, found)


@check("blobex/splat")
def splatting(case):
    """Alphas, shares, pyramid, feature grid, picture of blobs, and the gradients of a sum over grid and shares."""
    config, blobs = case.spec["config"], blobs_of(case)
    for part in blobs:
        part.requires_grad_()
    grid, low, aspect, area = (config[name] for name in ("score_size", "size_in", "aspect_ratio", "ab_norm"))
    widths = Jitter(*(config[f"jitter_{name}"] for name in ("xy", "angle", "shift")))
    draws = [case.tensor(f"u_{name}").flatten(1) if f"u_{name}" in case.arrays else None
             for name in ("x", "y", "angle", "shift")]
    offsets = widths.scaled(draws) if any(widths) else None
    ellipses = jitter(blobs, offsets, area)
    got = splat(blobs, grid, low, offsets, area)
    seen = got.pyramid[grid].permute(0, 2, 3, 1)
    alpha = alphas(ellipses, grid)
    found = {"xs": ellipses.xs, "ys": ellipses.ys, "covs": covariances(ellipses),
             "raw_scores": alpha.permute(0, 2, 3, 1), "composed_scores": seen, "feature_grid": got.features,
             "feature_img": blob_colours(ellipses, grid, case.tensor("viz_colors")[None]),
             "feature_grid_stretched": stretched(got.features, width(low, aspect)),
             **{f"pyramid_{side}": shares for side, shares in got.pyramid.items()},
             **{f"pyramid_{side}_stretched": stretched(shares, width(side, aspect))
                for side, shares in got.pyramid.items()}}
    found = {f"out_{name}": value for name, value in found.items() if f"out_{name}" in case.arrays}
    total = (got.features * case.tensor("grad_weight_feature_grid")).sum()
    total = total + (seen * case.tensor("grad_weight_composed_scores")).sum()
    parts = ("xs", "ys", "sizes", "covs", "features")
    tolerance = case.spec["tolerance"]
    gradients = dict(zip(parts, torch.autograd.grad(total, [getattr(blobs, name) for name in parts])))
    ratios = {f"grad_{name}": within(value, case.arrays[f"grad_{name}"], rtol=tolerance["grad_rtol"],
                                     atol=tolerance["grad_atol"])
              for name, value in gradients.items() if f"grad_{name}" in case.arrays}
    ratios["composed from raw_scores"] = within(composite(alpha).permute(0, 2, 3, 1),
                                                case.arrays["out_composed_scores"],
                                                **limits({"rtol": tolerance["rtol"], "atol": tolerance["atol"]}, ""))
    return Judged(ratios, found)


def network_pair(case, suffix="", state=None):
    """Return a case's (layout network, generator), filled; suffix: "_ema" for the averaged pair."""
    config, state = configuration(case), case.state_dict() if state is None else state
    return (loaded(config.layout_net(), state, f"layout_net{suffix}."),
            loaded(config.generator(), state, f"generator{suffix}."))


def noise_maps(case, count):
    """Return a case's noise maps."""
    return [case.tensor(f"noise_{index}") for index in range(count)]


@check("blobex/generator")
def generator(case):
    """Blobs to pictures with gradients of all six tensors, and noise to pictures; each picture by itself, too."""
    layouts, network = network_pair(case)
    blobs, noise = blobs_of(case), noise_maps(case, len(network.noise_shapes()))
    for part in blobs:
        part.requires_grad_()
    picture, tolerance = network(blobs, noise), case.spec["tolerance"]
    gradients = torch.autograd.grad((picture * case.tensor("grad_weight")).sum(), blobs)
    with torch.no_grad():
        from_z = network(layouts(case.tensor("z")), noise)
        alone = torch.cat([network(Blobs(*(part[index : index + 1] for part in blobs)), noise)
                           for index in range(len(picture))])
    values = {"rtol": tolerance["rtol"], "atol": tolerance["atol"]}
    found = {"img_from_blobs": picture, "img_from_z": from_z}
    ratios = {name: within(value, case.arrays[name], **values) for name, value in found.items()}
    ratios["img_from_blobs by itself"] = within(alone, case.arrays["img_from_blobs"], **values)
    if "img_from_z_norm255" in case.arrays:
        ratios["img_from_z_norm255"] = within((from_z + 1) * 127.5, case.arrays["img_from_z_norm255"],
                                              rtol=values["rtol"], atol=127.5 * values["atol"])
    for name, value in zip(Blobs._fields, gradients):
        ratios[f"grad_{name}"] = within(value, case.arrays[f"grad_{name}"], rtol=tolerance["grad_rtol"],
                                        atol_rel_to_max=1e-3)
    return Judged(ratios)


@check("blobex/real_generator_256x512")
@torch.no_grad()
def real_generator(case):
    """The published size: noise to a picture, of which every 8th pixel, a row, means and deviations are compared."""
    rows = case.manifest()
    suffix = "_ema" if any(row["name"].startswith("generator_ema.") for row in rows) else ""
    layouts, network = network_pair(case, suffix)
    noise = [fill_noise(index, shape) for index, shape in enumerate(network.noise_shapes())]
    blobs = layouts(case.tensor("z"))
    picture = network(blobs, noise)
    flat = picture.flatten(2)
    found = {"img_sub8": picture[:, :, ::8, ::8], "img_row100": picture[:, :, 100], "img_mean": flat.mean(2),
             "img_std": flat.std(2), **named(blobs, "blob_")}
    return {name: value for name, value in found.items() if name in case.arrays}


def fill_noise(index, shape):
    """Return noise map `index` as golden_fill makes an entry of that name, mean 0 and deviation 1."""
    from tests.golden.fill import fill_array

    row = {"name": f"noise_{index}", "shape": shape, "dtype": "float32", "mean": 0.0, "std": 1.0}
    return torch.from_numpy(fill_array(row))


@check("blobex/fixed_render_noise")
def fixed_render_noise(case):
    """The noise of a loaded model: shapes, first values and means of all maps."""
    shapes = case.arrays["shapes"]
    side, columns = shapes[0][2:].tolist()
    levels = len(shapes) // 2
    config = BlobGANConfig(resolution=side << levels, size_in=side, aspect_ratio=columns / side, c_model=1,
                           override_c_in=1, feature_dim=1, dim=1)
    maps = config.generator().fixed_noise()
    flat = [part.flatten() for part in maps]
    return {"shapes": [list(part.shape) for part in maps], "first8": torch.stack([part[:8] for part in flat]),
            "mean": [float(part.double().mean()) for part in flat]}


@check("blobex/palettes")
def palettes(case):
    """The colour tables."""
    return {name: colour_table(name) for name in case.arrays}
