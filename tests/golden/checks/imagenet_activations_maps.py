"""imagenet_activations' maps: from activation files to the matrix, standardised, and its principal components."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np

from tests.golden.compare import Judged, within
from tests.golden.registry import check

MODEL = "imagenet_real"
STANDARDISED = {"rtol": 1e-4, "atol": 1e-5}  # where the case does not say
COMPONENTS = {"rtol": 1e-3, "atol_rel_to_max": 1e-4}  # float32 components of another solver
TRUST_LOSS = 0.05  # of a map of our own against the recorded one: coordinates differ between versions


def write_tree(root, arrays):
    """Write the case's batches `FILE/LAYER` as a set below `root`; samples in the order of files and rows."""
    batches = {}
    for key, rows in arrays.items():
        file, slash, layer = key.partition("/")
        if slash:
            batches.setdefault(file, {})[layer] = rows
    for folder in ("activations", "metadata"):
        (root / folder / MODEL).mkdir(parents=True)
    samples = []
    for file, layers in sorted(batches.items()):
        np.savez_compressed(root / "activations" / MODEL / f"{file}.npz", **layers)
        count = len(next(iter(layers.values())))
        samples += [{"sample_id": f"sample_{len(samples) + row:06d}", "class_label": row % 3, "batch_index": row,
                     "activation_path": f"activations/{MODEL}/{file}"} for row in range(count)]
    (root / "metadata" / MODEL / "dataset_info.json").write_text(json.dumps({"model_type": MODEL, "samples": samples}))


def principal_components(case, rows, scaler, ratios):
    """Compare coordinates up to their signs, and shares of variance, with each `pca<k>` of the case."""
    from tools.process_embeddings import reduce

    for name, expected in case.arrays.items():
        if name.startswith("pca") and name[3:].isdigit():
            components, got = reduce.fit_components(rows, scaler, int(name[3:]), seed=0)
            signs = np.sign((got * expected).sum(axis=0))
            ratios[name] = within(got * signs, expected, **COMPONENTS)
            ratios[f"{name}_ratio"] = within(components.ratio, case.arrays[f"{name}_ratio"], **COMPONENTS)


def own_map(case, standardised, ratios):
    """A map of our own keeps neighbours as well as the recorded one, by the case's trustworthiness."""
    from tools.process_embeddings import embed

    for key, recorded in case.spec.items():
        if key.startswith("umap_trustworthiness_k"):
            k = int(key.removeprefix("umap_trustworthiness_k"))
            stored = next(rows for name, rows in case.arrays.items() if name.startswith("umap_random_state"))
            ratios[key] = within(embed.trustworthiness(standardised, stored, k), recorded, atol=1e-6)
            said = re.search(r"n_neighbors (\d+)", json.dumps(case.spec.get("arrays", {})))
            _, own = embed.fit_map(standardised, int(said.group(1)) if said else 15, 0.1, "euclidean", stored.shape[1],
                                   42)
            ratios["own map"] = max(0.0, recorded - embed.trustworthiness(standardised, own, k)) / TRUST_LOSS


@check("imagenet_activations/embedding_matrix")
def embedding_matrix(case):
    """The flat matrix exactly; scaler, standardised values, components, published columns; an own map's
    trustworthiness."""
    from tools.process_embeddings import read, reduce, write

    ratios, expected = {}, case.arrays
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder), expected)
        chosen = read.open_set(MODEL, folder)
        flat = chosen.rows[0 : len(chosen.records)]
        for key in ("csv_columns", "csv_columns_generated"):
            if key in case.spec:
                table = Path(folder) / "table.csv"
                fields = [name for name in case.spec[key] if not name.startswith("umap_")]
                write.write_table(table, [dict.fromkeys(fields, "x")], np.zeros((1, len(case.spec[key]) - len(fields))))
                ratios[key] = 0.0 if table.read_text().split("\n")[0].split(",") == case.spec[key] else np.inf
    scaler = reduce.fit_scaler(flat)
    standardised = scaler(flat)
    limits = case.spec.get("tolerance")
    limits = limits.get("standardised", STANDARDISED) if isinstance(limits, dict) else STANDARDISED
    ratios["flat"] = 0.0 if flat.dtype == np.float32 and np.array_equal(flat, expected["flat"]) else np.inf
    ratios["standardised"] = within(standardised, expected["standardised"], **limits)
    for name, got in (("scaler_mean", scaler.mean), ("scaler_scale", scaler.scale)):
        ratios[name] = within(got, expected[name], rtol=1e-6, atol=1e-9)
    principal_components(case, flat, scaler, ratios)
    own_map(case, standardised, ratios)
    return Judged(ratios)
