"""From the flags to the files: open, standardise, reduce, map, measure, write."""

import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np

from common import console, parallel
from common.effects import check_effects
from common.errors import InputError
from common.files import fingerprint, write_json, write_text
from common.job import Job
from common.numerals import counted
from tools.process_embeddings import embed, explorer, findings, maps, overlap, read, reduce, write
from tools.process_embeddings.classes import find_classes

PROG = "process_embeddings"

SET_KEYS = ("adapter", "checkpoint", "layers", "conditioning_sigma", "input_mode", "label_mode", "pool", "dtype",
            "preprocess", "split", "seed")
TRUST_K = 15  # neighbours for trustworthiness


def process(options):
    """Run `process_embeddings`; results: sizes, variance kept, trustworthiness, overlap of each pair of sets, notes."""
    check_flags(options)
    words = [*(options.models or [options.model]), *options.project]
    sets = [read.open_set(word, options.data_dir, options.layer, options.max_samples) for word in words]
    read.check_alike(sets)
    base, further = sets[: len(sets) - len(options.project)], sets[len(sets) - len(options.project) :]
    overlap.check_size(sum(len(item.records) for item in base), options.n_components, options.max_samples)
    embed.check_metric(options.metric)
    stem = read.map_stem(options)
    options = dataclasses.replace(options, more_maps=other_maps(options.more_maps, stem))
    more = [maps.read_map(Path(name)) for name in options.more_maps]

    def work():
        if not parallel.is_main():  # under torchrun a single process makes the map
            return {}, []
        made = make_map(base, further, options, stem.parent)
        classes = find_classes([record for item in sets for record in item.records], _class_names(sets))
        results = measure_map(made, sets, classes, options)
        outputs = write_files(stem, made, sets, classes, results, options, more)
        console.say(f"wrote {stem}.csv, .json, .npz, .png{', .html' if options.explorer else ''}")
        return results, outputs

    samples, width = sum(len(item.records) for item in sets), sets[0].rows.shape[1]
    return _job(options, sets, stem).run(work, lambda: (
        f"would map {samples} samples of {width} features to {stem}.*", {"num_samples": samples, "features": width}))


def check_flags(options):
    """Raise InputError for flags in conflict."""
    if bool(options.model) == bool(options.models):
        what = "mutually exclusive with --models" if options.model else "no set"
        raise InputError(what, where="--model", do="Name one set with --model, or several with --models")
    if options.model in ("sdxl", "sdv1.5") and not (Path(options.data_dir) / "metadata" / options.model).is_dir():
        raise InputError("no tool here makes such activations", where=f"--model {options.model}",
                         do="Name a set in --data_dir")
    check_effects(options, dict.fromkeys(("more_maps", "atlas_mb"), (options.explorer, "--explorer")))


def other_maps(names, stem):
    """Return the finished maps to be added, without this very one, which a pattern such as maps/*.json includes."""
    own = stem.with_name(f"{stem.name}.json").resolve()
    return [name for name in names if Path(name).resolve() != own]


def _job(options, sets, stem):
    """Return the Job; its record is in a folder named after the map.

    The sets are content, which may change: a set that was extended is mapped again into the same files, which hold
    nothing but what the sets give.
    """
    about = [fingerprint(item.root / "metadata" / item.model / "dataset_info.json") for item in sets]
    content = {}
    for item, entry in zip(sets, about):
        kinds = ["activations", *(["images"] if options.explorer else [])]
        content |= {f"samples of {item.name}": len(item.records), f"metadata of {item.name}": entry["sha256"],
                    **{f"{kind} of {item.name}": _files_in(item.root / kind / item.model) for kind in kinds}}
    if options.explorer:
        content |= {name: fingerprint(Path(name))["sha256"] for name in options.more_maps}
    endings = (".csv", "_table.csv", ".json", ".npz", ".png", ".html", ".pkl")
    folders = [item.root / kind / item.model for item in sets for kind in ("metadata", "activations", "images")]
    return Job(stem, PROG, options, content=content, about=about, inputs=[*folders, *options.more_maps],
               owns=[f"../{stem.name}{ending}" for ending in endings], show=show,
               summary=findings.describe(options.title or "", f"{stem.name}.png"))


def _files_in(folder):
    """Return a digest of the names, sizes and times of the files of a folder."""
    digest = hashlib.sha256()
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name) if folder.is_dir() else ():
        status = entry.stat()
        digest.update(f"{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


@dataclasses.dataclass
class Map:
    """A finished map: scaler, components or None, reducer, features (N, k), embedding (N, d), group (N,) of the sets.

    neighbours, distances (N, NEIGHBOURS): Euclidean, in the features.
    """

    scaler: object
    components: object
    reducer: object
    features: np.ndarray
    embedding: np.ndarray
    group: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray


def make_map(base, further, options, folder):
    """Return the Map of the sets `base`, with the sets `further` projected into it."""
    console.say(f"reading {sum(len(item.records) for item in base)} samples of {base[0].rows.shape[1]} features")
    rows = reduce.cache_rows(_joined(base), folder, options.low_memory)
    scaler = reduce.fit_scaler(rows, not options.no_normalize, centre=options.pca > 0 or not options.no_normalize)
    components = None
    if options.pca:
        components, features = reduce.fit_components(rows, scaler, options.pca, options.random_state)
    else:
        features = reduce.project(rows, scaler, None)
    console.say(f"mapping {features.shape[0]} x {features.shape[1]}")
    seed = None if options.fast else options.random_state
    found = _neighbours(features, options, seed)
    reducer, embedding = embed.fit_map(features, options.n_neighbors, options.min_dist, options.metric,
                                       options.n_components, seed, found if options.metric == "euclidean" else None)
    for item in further:
        console.say(f"projecting '{item.name}' into the fitted map: {counted(len(item.records), 'sample')}")
        extra = reduce.project(item.rows, scaler, components)
        features = np.concatenate([features, extra])
        embedding = np.concatenate([embedding, embed.project_into(reducer, extra)])
    group = np.repeat(np.arange(len(base) + len(further)), [len(item.records) for item in (*base, *further)])
    if further:
        found = _neighbours(features, options, seed)
    index, distance = (part[:, : explorer.NEIGHBOURS].copy() for part in found[:2])
    return Map(scaler, components, reducer, features, embedding, group, index, distance)


def _neighbours(features, options, seed):
    """Return each sample's Euclidean neighbours, as many as the page shows and UMAP needs."""
    k = min(max(explorer.NEIGHBOURS, options.n_neighbors - 1), len(features) - 1)
    return embed.find_neighbours(features, k, "euclidean", seed)


def _joined(sets):
    return read.JoinedRows([item.rows for item in sets], all(item.cheap for item in sets))


def measure_map(made, sets, classes, options):
    """Return the results under stable names; with two sets, those of their pair also at the top level."""
    names = [item.name for item in sets]
    pairs = overlap.compare_sets(names, made.group, made.features, made.embedding, options.random_state)
    results = {
        "num_samples": len(made.features), "features": sets[0].rows.shape[1], "sets": names,
        "num_in_set": [len(item.records) for item in sets], "components": made.features.shape[1],
        "variance_kept": float(made.components.ratio.sum()) if made.components is not None else None,
        "replaced": made.scaler.replaced,
        "trustworthiness": embed.trustworthiness(made.features, made.embedding, TRUST_K, options.random_state),
        "class_purity": overlap.class_purity(made.embedding, classes),
    }
    if len(pairs) == 1:
        results |= {key: value for key, value in pairs[0].items() if key not in ("a", "b", "num_a", "num_b")}
    notes = overlap.notes_on(sets)
    if made.scaler.replaced:
        notes.append(f"set to 0: {counted(made.scaler.replaced, 'value')} that had been NaN or infinite")
    if options.no_normalize and made.scaler.scale[0] != 1:
        notes.append(f"all values were divided by {made.scaler.scale[0]:.3g}, as their squares are beyond single "
                     "precision")
    if options.fast:
        notes.append("made without a seed: not reproducible")
    if embed.all_equal(made.features):
        notes.append("all samples have the same features: the map shows nothing")
    return results | {"pairs": pairs, "notes": notes}


def write_files(stem, made, sets, classes, results, options, more):
    """Write everything and return the paths."""
    path = {ending: stem.with_name(f"{stem.name}.{ending}") for ending in ("csv", "json", "npz", "png", "html", "pkl")}
    records = [record for item in sets for record in item.records]
    names = [item.name for item in sets]
    write.write_table(path["csv"], records, made.embedding,
                      [names[number] for number in made.group] if len(sets) > 1 else None)
    write.write_model(path["npz"], made.scaler, made.components, made.features, made.embedding, made.neighbours,
                      made.distances, made.group)
    write.write_plot(path["png"], made.embedding, made.group, names, classes)
    outputs = ["csv", "npz", "png"]
    if results["pairs"]:
        path["table"] = stem.with_name(f"{stem.name}_table.csv")
        write.write_overlap(path["table"], results)
        outputs.append("table")
    description = describe(sets, results, options, stem.parent)
    if options.pickle:
        write.write_pickle(path["pkl"], embed.as_published(made.reducer, options.random_state), made.scaler,
                           made.components, not options.no_normalize or made.scaler.scale[0] != 1)
        outputs.append("pkl")
    if options.explorer:
        own = tab_of(description, records, vars(made) | {"set": made.group}, stem.parent)
        others = [tab_of(about, rows, arrays, Path(name).parent)
                  for (about, rows, arrays), name in zip(more, options.more_maps)]
        results |= _write_page(path["html"], [own, *others], options)
        outputs.append("html")
    write_json(path["json"], description)  # last: where it exists, so do the others
    return [path[ending] for ending in (*outputs, "json")]


def _write_page(path, tabs, options):
    with console.progress("thumbnails", sum(len(tab.records) for tab in tabs), unit="image") as advance:
        text, atlas = explorer.build_page(tabs, tabs[0].title, int(options.atlas_mb * 1e6), path.with_suffix(".png"),
                                          advance)
    write_text(path, text)
    for name in atlas["unreadable"][:5]:
        console.say(f"no thumbnail, cannot read {name}")
    return {"thumbnails": atlas["thumbnails"], "unreadable_images": len(atlas["unreadable"]),
            "page_bytes": len(text.encode())}


def describe(sets, results, options, folder):
    """Return the map's description: the published keys, and under `map` what the page and another run need."""
    import importlib.metadata

    info = sets[0].info
    packages = ("umap-learn", "numba", "pynndescent", "numpy")
    return {
        "model": options.model or "+".join(item.name for item in sets),
        **{key: info[key] for key in ("adapter", "checkpoint") if key in info}, "layers": list(sets[0].layers),
        "n_neighbors": options.n_neighbors, "min_dist": options.min_dist, "metric": options.metric,
        "n_components": options.n_components, "normalize": not options.no_normalize,
        "random_state": None if options.fast else options.random_state, "num_samples": results["num_samples"],
        "pca": options.pca,
        "map": {
            "title": options.title or ", ".join(item.name for item in sets),
            "sets": [{"name": item.name, "model": item.model, "root": os.path.relpath(item.root, folder),
                      "projected": index >= len(sets) - len(options.project),
                      **{key: item.info[key] for key in SET_KEYS if key in item.info}}
                     for index, item in enumerate(sets)],
            "class_names": _class_names(sets), "results": results,
            "versions": {name: importlib.metadata.version(name) for name in packages},
        },
    }


def _class_names(sets):
    """Return {label: name} of the classes that occur, from the sets' class index ({"0": [synset, name]})."""
    class_names = {}
    for item in sets:
        index = item.info.get("class_labels")
        for label in {str(record.get("class_label")) for record in item.records} if isinstance(index, dict) else ():
            entry = index.get(label)
            class_names[label] = entry[-1] if isinstance(entry, list) and entry else entry
    return {label: str(name) for label, name in sorted(class_names.items()) if name}


def tab_of(description, records, arrays, folder):
    """Return the explorer's Tab of a finished map; folder: that of its description."""
    about = description["map"]
    names = [item["name"] for item in about["sets"]]
    near = about.get("near", "in feature space")
    scores = {} if "near" in about else {"feature distance to the nearest": arrays["distances"][:, 0]}
    if len(names) > 1:
        own = overlap.same_set_fraction_around(arrays["neighbours"], arrays["set"])
        scores = {"share of own set among neighbours": own, **scores}
    return explorer.Tab(
        about["title"], records, arrays["embedding"], arrays["set"], names,
        [folder / item["root"] for item in about["sets"]],
        arrays["neighbours"], arrays["distances"], scores, maps.numbers_of(about["results"]), about["results"]["notes"],
        about["class_names"], near,
    )


def show(results):
    """Print the measures of a map, and the notes."""
    console.show_table("process_embeddings", ["", "value"], maps.numbers_of(results))
    for note in results["notes"]:
        console.say(f"note: {note}")
