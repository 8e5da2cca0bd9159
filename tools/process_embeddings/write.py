"""The files of a map: table and description as published, parameters as npz, a figure, the pickle on request."""

import numpy as np

from common.files import atomic_path, write_npz
from common.formats import tables
from tools.process_embeddings.columns import cell_text

AXES = ("umap_x", "umap_y", "umap_z")


def write_table(path, records, embedding, sets=None):
    """Write the csv: the records' fields in their order, then `set` if given, then coordinates.

    A field of a record that bears the name of one of these has `record_` before it.
    """
    fields = list(dict.fromkeys(name for record in records for name in record))
    added = [*(["set"] if sets is not None else []), *AXES[: embedding.shape[1]]]
    rows = [[*(cell_text(record.get(name)) for name in fields), *([sets[index]] if sets is not None else []), *point]
            for index, (record, point) in enumerate(zip(records, embedding))]
    tables.write_table(path, [*(f"record_{name}" if name in added else name for name in fields), *added], rows)


def write_overlap(path, results):
    """Write the table of pairs of sets, with trustworthiness and class purity of the map beside."""
    header, rows = ["sets", "samples", "classifier AUC", "nearest is of own set", "the same in the map",
                    "coverage of the first", "coverage of the second", "trustworthiness",
                    "map neighbours of the same class"], []
    beside = [f"{results[name]:.3f}" if results[name] is not None else ""
              for name in ("trustworthiness", "class_purity")]
    for pair in results["pairs"]:
        sizes = [f"{pair['a']} / {pair['b']}", f"{pair['num_a']} / {pair['num_b']}"]
        if "auc" not in pair:
            rows.append([*sizes, *["too few points"] * 5, *beside])
            continue
        intervals = [f"{pair[name]:.3f} ({pair[name + '_low']:.3f} to {pair[name + '_high']:.3f})"
                     for name in ("auc", "own_neighbours", "own_neighbours_map")]
        shares = [f"{pair[name]:.3f}" for name in ("coverage_of_a_by_b", "coverage_of_b_by_a")]
        rows.append([*sizes, *intervals, *shares, *beside])
    tables.write_table(path, header, rows)


def write_model(path, scaler, components, features, embedding, neighbours, distances, group):
    """Write the npz: inputs and parameters of the map; `fit_map` on `features` reproduces it."""
    arrays = {"mean": scaler.mean, "scale": scaler.scale, "features": features, "embedding": embedding,
              "neighbours": neighbours, "distances": distances, "set": group.astype(np.int32)}
    if components is not None:
        arrays |= {"axes": components.axes, "variance": components.variance, "ratio": components.ratio}
    write_npz(path, compressed=False, **arrays)


def write_pickle(path, reducer, scaler, components, normalize):
    """Write the original's pickle {"reducer", "scaler"[, "pca_reducer"]} of the libraries' own objects."""
    import pickle

    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    standard = None
    if normalize:
        standard = StandardScaler()
        standard.mean_, standard.scale_, standard.var_ = scaler.mean, scaler.scale, scaler.scale**2
        standard.n_features_in_ = len(scaler.mean)
        standard.with_mean = standard.with_std = True
    content = {"reducer": reducer, "scaler": standard}
    if components is not None:
        pca = PCA(len(components.axes))
        pca.components_, pca.explained_variance_ = components.axes, components.variance
        pca.explained_variance_ratio_, pca.n_components_ = components.ratio, len(components.axes)
        pca.mean_ = np.zeros(components.axes.shape[1]) if normalize else scaler.mean
        pca.n_features_in_ = components.axes.shape[1]
        content["pca_reducer"] = pca
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        pickle.dump(content, stream)


def write_plot(path, embedding, group, names, classes):
    """Write the PNG: the points coloured by set, or by class where there is one set."""
    from matplotlib.figure import Figure

    from common.images.figures import save_figure

    figure = Figure(figsize=(8, 7), dpi=120, layout="constrained")
    axes = figure.add_subplot(projection="3d") if embedding.shape[1] == 3 else figure.add_subplot()
    size = float(np.clip(4000 / len(embedding), 0.6, 14))
    if len(names) > 1:
        for number, name in enumerate(names):
            axes.scatter(*embedding[group == number].T, s=size, linewidths=0, alpha=0.7,
                         label=f"{' ' * name.startswith('_')}{name} ({(group == number).sum()})")
        axes.legend(markerscale=(20 / size) ** 0.5, frameon=False, loc="upper right")
    else:
        count = len(classes.names)
        axes.scatter(*embedding.T, s=size, linewidths=0, alpha=0.8, c=classes.of,
                     cmap="tab20" if count <= 20 else "turbo")
        axes.set_title(f"{names[0]}: {len(embedding)} samples, {count} classes")
    axes.set_xticks([])
    axes.set_yticks([])
    save_figure(path, figure)
