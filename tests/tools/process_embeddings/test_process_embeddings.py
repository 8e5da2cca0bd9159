"""process_embeddings as a command: published files, several sets, projection, resume, errors."""

import csv
import json
import os
import shutil

import numpy as np
import pytest

from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.process_embeddings.trees import REAL_FIELDS, clusters, write_tree

NAMES = ["kit_fox", "tench", "goldfish"]
SAME = {"input_mode": "clean", "label_mode": "none"}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Two sets of the same distribution in `a` (real, 60) and `b` (real, 45), and a far one of generated images in
    `a`."""
    root = tmp_path_factory.mktemp("trees")
    for folder, model, seed, count, shift, more in (("a", "imagenet_real", 1, 60, 0, SAME),
                                                    ("b", "imagenet_real", 2, 45, 0, SAME),
                                                    ("a", "imagenet", 3, 30, 6, {})):
        layers, labels, images = clusters(count, 3, seed, shift, drawn=True)
        write_tree(root / folder, model, layers, labels, NAMES, images, **more)
    return root


@pytest.fixture
def quick(monkeypatch):
    """The command with principal components in place of UMAP, where the map itself does not matter."""
    from tools.process_embeddings import embed

    monkeypatch.setattr(embed, "fit_map", lambda features, *rest: (None, np.ascontiguousarray(features[:, : rest[3]])))
    monkeypatch.setattr(embed, "project_into", lambda reducer, features: np.ascontiguousarray(features[:, :2]))


def read_table(path):
    with path.open(encoding="utf-8") as stream:
        table = csv.reader(stream)
        return next(table), list(table)


def test_one_set_gives_the_published_files(trees, tmp_path):
    results = results_of("process_embeddings", "--model", "imagenet_real", "--data_dir", trees / "a", "--output_dir",
                         tmp_path, "--pickle")
    stem = tmp_path / "imagenet_real_umap_n15_d0.1"
    columns, rows = read_table(stem.with_name(stem.name + ".csv"))
    assert columns == [*REAL_FIELDS, "umap_x", "umap_y"]
    assert (len(rows), rows[7][0], rows[7][-3]) == (60, "sample_000007", "80.0")
    described = json.loads(stem.with_name(stem.name + ".json").read_text())
    wanted = {"model": "imagenet_real", "n_neighbors": 15, "min_dist": 0.1, "metric": "euclidean", "n_components": 2,
              "normalize": True, "random_state": 42, "num_samples": 60}
    assert {key: described[key] for key in wanted} == wanted
    with np.load(stem.with_name(stem.name + ".npz"), allow_pickle=False) as model:
        assert np.allclose(model["embedding"], np.array([row[-2:] for row in rows], float), atol=1e-5)
        assert model["features"].shape == (60, 24)
    assert results["trustworthiness"] > 0.8
    assert results["class_purity"] > 0.9
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} == {".csv", ".json", ".npz", ".png", ".html",
                                                                              ".pkl"}
    assert not list(tmp_path.glob(".*"))


def globals_of(pickled):
    """Return the modules that a pickle imports from."""
    import pickletools

    return {str(word) for _, word, _ in pickletools.genops(pickled) if isinstance(word, str)}


def test_the_pickle_holds_umap_and_scikit_learn_objects_that_project_alike(trees, tmp_path):
    import pickle

    from tools.process_embeddings import embed

    words = ["--model", "imagenet_real", "--project", f"more={trees / 'b'}:imagenet_real", "--data_dir", trees / "a"]
    results = results_of("process_embeddings", *words, "--output_dir", tmp_path, "--pickle", "--no_explorer")
    (path,) = tmp_path.glob("*.pkl")
    assert path.name.startswith("more_in_imagenet_real_umap")
    held = pickle.loads(path.read_bytes())
    layers, _, _ = clusters(45, 3, 2, drawn=True)
    flat = np.concatenate([layers[name].reshape(45, -1) for name in sorted(layers)], axis=1).astype(np.float32)
    reduced = held["pca_reducer"].transform(held["scaler"].transform(flat)).astype(np.float32)
    with np.load(path.with_suffix(".npz")) as model:
        np.testing.assert_allclose(model["features"][60:], reduced, atol=1e-4)
        ours, _ = embed.fit_map(model["features"][:60], 15, 0.1, "euclidean", 2, 42)
        assert np.allclose(embed.project_into(ours, model["features"][60:]), model["embedding"][60:], atol=1e-6)
        graphs = []  # the optimisation that follows is chaotic: one more visit of an edge moves a point
        for reducer in (ours, held["reducer"]):
            reducer.transform_mode = "graph"
            graphs.append(reducer.transform(model["features"][60:]).toarray())
        np.testing.assert_allclose(*graphs, atol=2e-3)
        assert "tools" not in {part.split(".")[0] for part in globals_of(path.read_bytes())}
        assert (model["set"] == 1).sum() == 45
    assert results["sets"] == ["imagenet_real", "more"]


@pytest.mark.usefixtures("quick")
def test_numbers_tell_equal_sets_from_different_ones_and_a_note_names_other_modes(trees, tmp_path):
    same = results_of("process_embeddings", "--models", f"a={trees / 'a'}:imagenet_real",
                      f"b={trees / 'b'}:imagenet_real",
                      "--output_dir", tmp_path)
    assert same["auc_low"] < 0.55
    assert same["auc_high"] > 0.45
    assert same["own_neighbours_low"] < 0.5 < same["own_neighbours_high"]
    assert same["coverage_of_a_by_b"] > 0.8
    assert same["notes"] == []
    far = results_of("process_embeddings", "--models", "imagenet_real", "imagenet", "--data_dir", trees / "a",
                     "--output_dir", tmp_path)
    assert far["auc"] > 0.99
    assert far["own_neighbours"] > 0.95
    assert far["coverage_of_a_by_b"] == 0
    assert any("input_mode clean" in note and "Extract both alike" in note for note in far["notes"])
    columns, rows = read_table(tmp_path / "imagenet_real+imagenet_umap_n15_d0.1_table.csv")
    assert columns[:3] == ["sets", "samples", "classifier AUC"]
    assert [row[0] for row in rows] == ["imagenet_real / imagenet"]
    assert rows[0][2] == f"{far['auc']:.3f} ({far['auc_low']:.3f} to {far['auc_high']:.3f})"
    columns, rows = read_table(tmp_path / "imagenet_real+imagenet_umap_n15_d0.1.csv")
    assert columns[-3:] == ["set", "umap_x", "umap_y"]
    assert {row[-3] for row in rows} == {"imagenet_real", "imagenet"}


@pytest.mark.usefixtures("quick")
def test_a_finished_map_is_answered_and_another_option_is_refused(trees, tmp_path):
    words = ["--model", "imagenet", "--data_dir", trees / "a", "--output_dir", tmp_path]
    first = results_of("process_embeddings", *words)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()}
    assert results_of("process_embeddings", *words) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()} == before
    assert "pca 50" in refusal_of("process_embeddings", *words, "--pca", 5)
    assert results_of("process_embeddings", *words, "--pca", 5, "--overwrite")["components"] == 5
    # a map of its own beside it
    assert results_of("process_embeddings", *words, "--n_neighbors", 7)["num_samples"] == 30


@pytest.mark.usefixtures("quick")
def test_A15_an_extended_set_is_mapped_again_and_the_line_says_what_changed(tmp_path):
    layers, labels, images = clusters(30, 3, 1)
    words = ["--model", "imagenet_real", "--data_dir", tmp_path, "--output_dir", tmp_path / "maps"]
    for count in (20, 30):
        write_tree(tmp_path, "imagenet_real", {name: rows[:count] for name, rows in layers.items()}, labels[:count],
                   NAMES, images[:count], **SAME)
        ended = call_tool("process_embeddings", *words)
        assert ended.status == 0, ended.err
    assert "samples of imagenet_real (20, now 30)" in ended.err
    _, rows = read_table(tmp_path / "maps" / "imagenet_real_umap_n15_d0.1.csv")
    assert len(rows) == 30
    assert "up to date" in call_tool("process_embeddings", *words).err


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["activations", "images"])
def test_A15_a_replaced_file_under_the_same_metadata_is_noticed(kind, trees, tmp_path):
    shutil.copytree(trees / "a", tmp_path / "a")
    words = ["--model", "imagenet", "--data_dir", tmp_path / "a", "--output_dir", tmp_path / "maps"]
    assert call_tool("process_embeddings", *words).status == 0
    file = sorted((tmp_path / "a" / kind / "imagenet").iterdir())[0]
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(10**18, 10**18))  # equal size, older
    ended = call_tool("process_embeddings", *words)
    assert f"changed since the last run: {kind} of imagenet; running again" in ended.err
    assert ended.status == 0


@pytest.mark.usefixtures("quick")
def test_A15_more_first_samples_extend_the_map_and_fewer_are_refused_by_name(trees, tmp_path):
    words = ["--model", "imagenet", "--data_dir", trees / "a", "--output_dir", tmp_path]
    assert results_of("process_embeddings", *words, "--max_samples", 12)["num_samples"] == 12
    assert results_of("process_embeddings", *words, "--max_samples", 20)["num_samples"] == 20
    assert "max_samples 20, this command has 12" in refusal_of("process_embeddings", *words, "--max_samples", 12)


@pytest.mark.usefixtures("quick")
def test_layers_and_first_samples_can_be_chosen(trees, tmp_path):
    words = ["--model", "imagenet_real", "--data_dir", trees / "a", "--output_dir", tmp_path, "--no_explorer"]
    results = results_of("process_embeddings", *words, "--layer", "midblock", "--max_samples", 20, "--low_memory")
    assert (results["features"], results["num_samples"]) == (12, 20)
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.usefixtures("quick")
def test_values_that_are_not_finite_are_counted_and_all_of_them_refused(tmp_path):
    layers, labels, _ = clusters(20, 3, 5)
    layers["midblock"][3, 2] = np.nan
    write_tree(tmp_path / "some", "imagenet", layers, labels, NAMES)
    results = results_of("process_embeddings", "--model", "imagenet", "--data_dir", tmp_path / "some", "--output_dir",
                         tmp_path)
    assert results["replaced"] == 1
    assert any("set to 0: 1 value that had been NaN" in note for note in results["notes"])
    write_tree(tmp_path / "all", "imagenet", {"midblock": np.full((20, 4), np.nan)}, labels, NAMES)
    line = refusal_of("process_embeddings", "--model", "imagenet", "--data_dir", tmp_path / "all", "--output_dir",
                      tmp_path / "x", "--quiet")
    assert "conditioning sigma of 0" in line


@pytest.mark.parametrize("form", ["npy", "flat", "single"])
def test_other_layouts_give_the_rows_of_the_published_one(trees, tmp_path, form):
    """The fast form, one flat matrix, and a file for each sample."""
    from tools.process_embeddings.read import open_set

    wanted = open_set("imagenet", trees / "a")
    rows, count = wanted.rows[0:30], len(wanted.records)
    shutil.copytree(trees / "a" / "metadata" / "imagenet", tmp_path / "metadata" / "imagenet")
    folder = tmp_path / "activations" / "imagenet"
    folder.mkdir(parents=True)
    path = tmp_path / "metadata" / "imagenet" / "dataset_info.json"
    described = json.loads(path.read_text())
    for number, record in enumerate(described["samples"]):
        record["batch_index"] = number
        if form == "single":
            del record["batch_index"]
            record["activation_path"] = f"activations/imagenet/sample_{number:06d}"
            np.savez(folder / f"sample_{number:06d}.npz", encoder_bottleneck=rows[number, None, :12],
                     midblock=rows[number, None, 12:])
    path.write_text(json.dumps(described))
    if form == "npy":
        np.save(folder / "done.npy", np.ones(count, np.uint8))
        np.save(folder / "encoder_bottleneck.npy", rows[:, :12])
        np.save(folder / "midblock.npy", rows[:, 12:])
    elif form == "flat":
        np.save(folder / "all.npy", rows)
        told = {"layers": ["encoder_bottleneck", "midblock"],
                "shapes": {"encoder_bottleneck": [3, 2, 2], "midblock": [12]},
                "total_features": 24, "num_samples": count, "dtype": "float32"}
        (folder / "all.npy.json").write_text(json.dumps(told))
    got = open_set("imagenet", tmp_path)
    assert got.layers == wanted.layers == {"encoder_bottleneck": 12, "midblock": 12}
    assert got.cheap == (form != "single")
    assert np.array_equal(got.rows[0:count], rows)
    assert np.array_equal(open_set("imagenet", tmp_path, "midblock", 9).rows[4:9], rows[4:9, 12:])


def test_dry_run_writes_nothing(trees, tmp_path):
    ended = call_tool("process_embeddings", "--model", "imagenet", "--data_dir", trees / "a", "--output_dir", tmp_path,
                      "--dry_run")
    assert ended.status == 0
    assert "would map 30 samples of 24 features" in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no set"),
        (["--model", "imagenet", "--models", "imagenet"], "--models"),
        (["--model", "imagenet_reel"], "imagenet_reel"),
        (["--model", "sdxl"], "sdxl"),
        (["--model", "imagenet", "--layer", "midblok"], "Did you mean midblock?"),
        (["--model", "imagenet", "--min_dist", 2], "from 0 to 1"),
        (["--model", "imagenet", "--n_neighbors", 1], "at least 2"),
        (["--model", "imagenet", "--max_samples", 3], "3 samples are too few"),
        (["--models", "imagenet", "imagenet"], "two sets have this name"),
        (["--model", "imagenet", "--n_components", 4], "--n_components"),
        (["--model", "imagenet", "--noexplorer", "--atlas_mb", 2], "--atlas_mb: acts on --explorer"),
        (["--model", "a/b"], "invalid name of a set"),
        (["--model", "imagenet", "--more_maps", "none.json"], "none.json"),
    ],
)
def test_bad_input_is_one_line_and_status_2(trees, tmp_path, words, said):
    line = refusal_of("process_embeddings", "--data_dir", trees / "a", "--output_dir", tmp_path / "out", *words)
    assert said in line
    assert not (tmp_path / "out").exists()


def test_an_unknown_distance_is_named(trees, tmp_path):
    line = refusal_of("process_embeddings", "--model", "imagenet", "--data_dir", trees / "a", "--output_dir", tmp_path,
                      "--metric", "euclidian", "--quiet")
    assert "Did you mean euclidean?" in line


@pytest.mark.parametrize("metric", ["haversine", "mahalanobis", "jaccard", "ll_dirichlet", "seuclidean"])
def test_distances_that_mean_nothing_between_real_vectors_are_refused(metric, trees, tmp_path):  # field fault A4
    line = refusal_of("process_embeddings", "--model", "imagenet", "--data_dir", trees / "a", "--output_dir", tmp_path,
                      "--metric", metric, "--quiet")
    assert f"'{metric}' is not a distance between real vectors" in line


def test_a_missing_or_short_activation_file_is_named(trees, tmp_path):
    shutil.copytree(trees / "a", tmp_path / "a")
    file = tmp_path / "a" / "activations" / "imagenet" / "batch_000001.npz"
    file.write_bytes(file.read_bytes()[:-30])
    words = ["--model", "imagenet", "--data_dir", tmp_path / "a", "--output_dir", tmp_path / "out", "--quiet"]
    assert "batch_000001.npz" in refusal_of("process_embeddings", *words)
    file.unlink()
    assert "batch_000001.npz" in refusal_of("process_embeddings", *words)


@pytest.mark.usefixtures("quick")
def test_maps_of_other_layers_and_metrics_lie_side_by_side(trees, tmp_path):
    words = ["--model", "imagenet", "--data_dir", trees / "a", "--output_dir", tmp_path, "--no_explorer"]
    for more in ([], ["--layer", "midblock"], ["--metric", "cosine"], ["--layer", "midblock,encoder_bottleneck"]):
        results_of("process_embeddings", *words, *more)
    stem = "imagenet_umap_n15_d0.1"
    assert {path.stem for path in tmp_path.glob("*.csv")} == {
        stem, f"{stem}_midblock", f"{stem}_cosine", f"{stem}_encoder_bottleneck+midblock"}


def page_data(path):
    import base64
    import gzip

    packed = path.read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


@pytest.mark.usefixtures("quick")
def test_a_map_of_the_original_program_becomes_a_tab(trees, tmp_path):
    """Its csv and json alone; images lie in the folder above, as in data/embeddings."""
    shutil.copytree(trees / "a" / "images", tmp_path / "images")
    described = {"model": "imagenet", "n_neighbors": 15, "min_dist": 0.1, "metric": "euclidean", "n_components": 2,
                 "normalize": True, "random_state": 42, "num_samples": 30}
    folder = tmp_path / "embeddings"
    folder.mkdir()
    (folder / "old.json").write_text(json.dumps(described))
    lines = ["sample_id,class_label,image_path,umap_x,umap_y"]
    lines += [f"sample_{k:06d},{k % 3},images/imagenet/sample_{k:06d}.png,{k}.5,{k % 2}.0" for k in range(30)]
    (folder / "old.csv").write_text("\n".join(lines))
    words = ["--model", "imagenet_real", "--data_dir", trees / "a", "--output_dir", folder]
    results = results_of("process_embeddings", *words, "--more_maps", folder / "old.json")
    assert results["thumbnails"] == 90
    tab = page_data(folder / "imagenet_real_umap_n15_d0.1.html")["tabs"][1]
    assert (tab["title"], tab["count"], tab["near"], tab["k"]) == ("old", 30, "on the map", 12)
    (folder / "old.csv").write_text("\n".join(lines).replace("7.5", "x"))
    assert "old.json: not the description of a map" in refusal_of(
        "process_embeddings", *words, "--n_neighbors", 7, "--more_maps", folder / "old.json")


@pytest.mark.usefixtures("quick")
def test_a_pattern_that_includes_the_map_itself_adds_the_others(trees, tmp_path):
    words = ["--data_dir", trees / "a", "--output_dir", tmp_path]
    results_of("process_embeddings", "--model", "imagenet", *words)
    for _ in range(2):
        found = sorted(tmp_path.glob("*.json"))
        results_of("process_embeddings", "--model", "imagenet_real", *words, "--more_maps", *found)
    assert len(page_data(tmp_path / "imagenet_real_umap_n15_d0.1.html")["tabs"]) == 2


def test_two_words_of_an_unquoted_pattern_are_explained(trees, tmp_path):
    line = refusal_of("process_embeddings", "--model", "imagenet", "--data_dir", trees / "a", trees / "b",
                      "--output_dir", tmp_path)
    assert "b: unexpected argument. A pattern such as *.npz becomes several words unless it is quoted" in line
