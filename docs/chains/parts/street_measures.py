"""Tables of docs/blobex_inv_cf_measured.md, from the models of the demo.

    python -m docs.chains.parts.street_measures FOLDER [TABLE ...]

FOLDER: what docs/chains/counterfactuals.sh made. TABLE: speed, sparse, margins, bias, real, diverse, sizes, inversion,
shape (default: all). Runs lie below FOLDER/.measures and are passed over the next time.
"""

import sys

import numpy as np
import torch
from PIL import Image

from common.blobs.metadata import metadata_files, read_metadata
from common.networks.blobgan.files import read_blobgan
from docs.chains.parts.street_flips import ATTRIBUTES, measures_of, render
from docs.chains.parts.street_runs import COLUMNS, OTHERS, SCENES, Demo, Others, Pairs, show, versions
from docs.chains.parts.street_tables import distances, read_scenes
from docs.chains.parts.streets import COINS

SPEED_SCENES, DIVERSE_SCENES = 32, 12
FIXED = ("--early_stop", "off", "--n_iters_cf", "100")


def speed(demo):
    """Early stop and all attributes at once, against 100 steps attribute by attribute."""
    early, seconds = demo.search("early32", "--sparse", "off", scenes=SPEED_SCENES)
    fixed = [demo.search(f"fixed32_{name}", *FIXED, "--sparse", "off", "--target_attributes", name,
                         scenes=SPEED_SCENES) for name in ATTRIBUTES]
    ours, theirs = Pairs(demo, early, True).numbers(), [Pairs(demo, folder, True).numbers() for folder, _ in fixed]
    mean = [np.mean([getattr(each, name) for each in theirs]) for name in ours._fields[:4]]
    rows = [["early stop, all attributes at once", *(f"{value:.3f}" for value in ours[:4]),
             f"{ours.evaluations:.1f}", f"{seconds:.1f}"],
            ["100 steps, attribute by attribute", *(f"{value:.3f}" for value in mean),
             f"{np.mean([each.evaluations for each in theirs]):.1f}", f"{sum(each for _, each in fixed):.1f}"]]
    show("speed", ["search", "success", "truth", "kept", "L1", "evaluations", "CPU s"], rows)


SPARSE = {  # name: (what the table calls it, flags)
    "margin4": ("margin 4", ("--margin", "4")),
    "sparse1": ("margin 4, sparse margin 1", ("--margin", "4", "--sparse_margin", "1")),
    "margin8": ("margin 8", ("--margin", "8")),
    "tensors": ("margin 8, single tensors too", ("--margin", "8", "--sparse", "tensors")),
    "fixed": ("100 steps", FIXED), "style": ("margin 8, styles alone", ("--target_features", "spatial_style")),
    "six": ("margin 8, all six tensors", ("--target_features", "xs", "ys", "sizes", "covs", "features",
                                          "spatial_style")),
    "prox": ("margin 8, proximity 3", ("--lambda_prox_cf", "3")),
}


def sparse(demo):
    """Searches, and what making them sparse changes; and the attributes one by one."""
    rows, each = [], []
    for name, (title, flags) in SPARSE.items():
        folder, _ = demo.search(name, *flags)
        own = versions(demo, folder, title)
        rows += own if name not in ("sparse1", "tensors") else own[1:]
        for dense in (True, False):
            each.append([own[not dense][0],
                         *(f"{share:.2f}" for share in Pairs(demo, folder, dense).numbers().truths)])
    show("sparse", ["search", *COLUMNS], rows)
    show("truth by attribute", ["search", *ATTRIBUTES], each)


MARGINS = {  # name: (what the table calls it, flags); the last are those of the demo
    "margin8": ("8", ("--margin", "8")), "margin12": ("12", ("--margin", "12")),
    "demo": ("12, 60 steps, sparse margin 8", ("--margin", "12", "--sparse_margin", "8", "--n_iters_cf", "60")),
}


def margins(demo):
    """What a larger margin does, and which flips the oracle does not see."""
    rows, each = [], []
    for which, scenes, place in (("the 24", SCENES, demo), ("others", OTHERS, Others(demo.folder))):
        for name, (title, flags) in MARGINS.items():
            folder, _ = place.search(name if scenes == SCENES else f"{name}_others", *flags, scenes=scenes)
            dense, thin = (Pairs(demo, folder, way) for way in (True, False))
            found = [pairs.numbers() for pairs in (dense, thin)]
            cells = [[f"{own.oracle:.2f}", f"{own.truth:.2f}", f"{own.kept:.2f}", f"{own.l1:.3f}"] for own in found]
            rows.append([which, title, *cells[0], f"{found[0].evaluations:.1f}", *cells[1]])
            each += [[which, f"{title}{added}", *directions(pairs)] for added, pairs in (("", dense), (" *", thin))]
    show("margins", ["scenes", "margin", "oracle", "truth", "kept", "L1", "evaluations", "sparse: oracle", "truth",
                     "kept", "L1"], rows)
    show("oracle by decision (*: sparse)", ["scenes", "margin", *(f"{name} {way}" for name in ATTRIBUTES
                                                                 for way in ("on", "off"))], each)
    drawn = torch.from_numpy(read_scenes(demo.folder / ".drawn" / "imgs")).permute(0, 3, 1, 2) / 127.5 - 1
    differ = demo.model("decision").decided(drawn) != demo.model("oracle").decided(drawn)
    show("drawn scenes that model and oracle decide otherwise", ATTRIBUTES,
         [[f"{share:.3f}" for share in differ.float().mean(dim=0)]])


def directions(pairs):
    """Return the shares of flips that the oracle sees, of each attribute to 1 and to 0."""
    chosen = [pairs.flipped & (pairs.attribute == number) & (pairs.target == way) for number in range(len(ATTRIBUTES))
              for way in (True, False)]
    return [f"{pairs.oracle[rows].mean():.2f}" if rows.any() else "-" for rows in chosen]


def bias(demo):
    """Mean shift of the judge's measures towards the target when the decision about the light flips."""
    rows = []
    kinds = {"styles alone, margin 8": ("--target_features", "spatial_style", "--margin", "8"),
             "default tensors, margin 8": ("--margin", "8")}
    for model in ("decision", "biased"):
        for number, (title, flags) in enumerate(kinds.items()):
            folder, _ = demo.search(f"bias{number}", *flags, "--target_attributes", "green", model=model)
            for dense in (True, False):
                pairs = Pairs(demo, folder, dense, model)
                sign = np.where(pairs.target, 1, -1)[:, None]
                moved = (demo.judge.shares(pairs.flips.after) - demo.judge.shares(pairs.flips.before)) * sign
                light, sky = moved[pairs.flipped].mean(axis=0)[[COINS.index("green"), COINS.index("warm")]]
                rows.append([model, f"{title}{'' if dense else ', sparse'}", f"{light:.2f}", f"{sky:.2f}",
                             f"{pairs.numbers().success:.2f}"])
    show("bias", ["model", "search", "light", "sky", "success"], rows)


def real(demo):
    """Searches on reconstructions and on real pictures."""
    rows = []
    for on in ("reconstruction", "real"):
        folder, _ = demo.search(f"on_{on}", "--search_on", on)
        rows += versions(demo, folder, f"--search_on {on}")
    show("on real pictures", ["search", *COLUMNS], rows)


def diverse(demo):
    """Three counterfactuals at once, by three formulations and two seeds."""
    kinds = {"gate": (), "no gate": ("--gate", "off"), "restarts": ("--diversity", "restarts")}
    rows = []
    for steps, extra in (("early stop", ()), ("30 steps", ("--early_stop", "off", "--n_iters_cf", "30"))):
        for title, flags in kinds.items():
            for seed in (0, 1):
                name = f"diverse_{title.replace(' ', '_')}_{steps.replace(' ', '_')}_{seed}"
                folder, _ = demo.search(name, "--num_diverse", "3", "--learning_rate_cf", "0.16", "--seed",
                                        str(seed), *flags, *extra, scenes=DIVERSE_SCENES)
                pairs = Pairs(demo, folder, False)
                numbers = pairs.numbers()
                spread = [pairs.column(each).mean() for each in ("pixel_distance", "relative_distance", "cosine",
                                                                 "blob_overlap")]
                rows.append([title, steps, seed, f"{numbers.success:.2f}", *(f"{value:.3f}" for value in spread),
                             f"{numbers.truth:.2f}", f"{numbers.l1:.3f}", f"{numbers.evaluations:.0f}"])
    show("diverse", ["formulation", "steps", "seed", "success", "pixel distance", "over distance to start", "cosine",
                     "blob overlap", "truth", "L1", "evaluations"], rows)


def sizes(demo):
    """The learning rate of sizes as a share of --learning_rate_cf; the others' is an eighth of that."""
    rows = []
    for model in ("decision", "oracle"):
        for ratio in ("1", "0.5", "0.125", None):
            flags = ("--lr_ratio", f"sizes={ratio}") if ratio else ("--target_features", "features", "spatial_style")
            folder, _ = demo.search(f"sizes_{ratio}", *flags, model=model)
            rows += [[model, *row] for row in versions(demo, folder, ratio or "not free", model)]
    show("sizes", ["model", "ratio", *COLUMNS], rows)


def real_pictures(demo):
    """Return the first held-out scenes (24, 3, H, W) in [-1, 1]."""
    paths = sorted(demo.val.glob("*.png"))[:SCENES]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def reconstructed(demo, folder, model="decision"):
    """Return the texts of (L1, share of decisions kept, share where the judge sees what it sees on the real picture)
    of the reconstructions of a run."""
    pictures, explained, gan = real_pictures(demo), demo.model(model), read_blobgan(demo.gan, "cpu")
    shown = torch.cat([render(gan, read_metadata(path).blobs) for _, path in metadata_files(folder)])
    kept = (explained.decided(shown) == explained.decided(pictures)).float().mean()
    seen, truth = (demo.judge.decide(measures_of(each))[:, : len(ATTRIBUTES)] for each in (shown, pictures))
    return f"{(shown - pictures).abs().mean():.3f}", f"{kept:.3f}", f"{(seen == truth).mean():.3f}"


def inversion(demo):
    """The decision term of the inversion."""
    rows = []
    for model in ("decision", "oracle"):
        for weight in ("0", "0.1", "1"):
            for perceptual in ("decision", "oracle"):
                folder, _ = demo.run(f"term_{weight}_{perceptual}_{model}", "--lambda_inv_decision_fm", weight,
                                     model=model, perceptual=perceptual)
                pairs = [Pairs(demo, folder, dense, model).numbers() for dense in (True, False)]
                rows.append([model, perceptual, weight, *reconstructed(demo, folder, model),
                             *(f"{each.on_real:.2f}" for each in pairs), *(f"{each.truth:.2f}" for each in pairs)])
    show("inversion", ["model", "--perceptual", "decision term", "L1", "decisions kept", "judge right", "flips on real",
                       "sparse", "truth", "sparse"], rows)


def shape(demo):
    """The generator by step, the inversion and the demo's search, on the scenes of this folder's shape."""
    height, width = real_pictures(demo).shape[2:]
    name, rows = f"{height} x {width}", []
    _, inverting = demo.run(f"inversion_decision_{SCENES}", "--inversion_only")
    for kind in ("margin8", "demo"):
        title, flags = MARGINS[kind]
        folder, searching = demo.search(kind, *flags)
        rows += [[name, *row, f"{searching:.1f}"] for row in versions(demo, folder, title)]
    fids = distances(demo.folder / "gan")
    show("generator and inversion", ["scenes", *(f"step {step}" for step in fids), "inversion: L1", "decisions kept",
                                     "judge right", "CPU s"],
         [[name, *(f"{fid:.2f}" for fid in fids.values()), *reconstructed(demo, folder), f"{inverting:.1f}"]])
    show("shape", ["scenes", "margin", *COLUMNS, "CPU s"], rows)


TABLES = {each.__name__: each for each in (speed, sparse, margins, bias, real, diverse, sizes, inversion, shape)}


def main(folder, *names):
    """Print tables."""
    demo = Demo(folder)
    for name in names or TABLES:
        TABLES[name](demo)


if __name__ == "__main__":
    main(*sys.argv[1:])
