"""Configuration blocks, the registry of modes, and the DataLoader: the same batches with any number of workers."""

import json
import warnings

import pytest
import torch

from common.datasets.dlas.loader import EpochSampler, collate_items
from common.datasets.dlas.options import check_required, create_dataloader, create_dataset, known_modes, load_options
from common.errors import InputError
from tests.common.datasets.dlas.chunked.makers import make_folders, options_for
from tests.common.limits import within_bounds
from tools.extract_subimages.options import read_options

CORRUPTIONS = {"fixed_corruptions": ["noise", "jpeg-broad"], "random_corruptions": ["gaussian_blur", "none"],
               "num_corrupts_per_image": 1}

CONFIGURATION = """
scale: 4
datasets:
  train:
    mode: single_image_extensible
    paths: [a, b]
    weights: [1, 2]
    target_size: 128
    n_workers: 2
    batch_size: 16
    nested: &shared {inner: ~}
    again: *shared
  val_quick:
    mode: fullimage
    scale: 2
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))


def test_blocks_of_a_configuration(tmp_path):
    path = tmp_path / "train.yml"
    path.write_text(CONFIGURATION)
    blocks = load_options(path)
    assert list(blocks) == ["train", "val_quick"]
    train, val = blocks.values()
    assert (train["phase"], train["scale"], train["data_type"]) == ("train", 4, "img")
    assert (val["phase"], val["scale"]) == ("val", 2)
    assert train["nothing"] is None  # a missing key reads as None, at any depth
    assert train["nested"]["nothing"] is None
    assert train["nested"] is train["again"]
    (tmp_path / "twice.yml").write_text("mode: a\npath: x\nmode: &m {<<: {q: 1}, q: 2}\nmode: b")
    assert load_options(tmp_path / "twice.yml")["train"]["mode"] == "b"  # the last, as in the original
    (tmp_path / "one.json").write_text(json.dumps({"mode": "stylegan2", "\tpath": 1}, indent="\t"))
    assert load_options(tmp_path / "one.json")["train"]["mode"] == "stylegan2"


@pytest.mark.parametrize(("text", "match"), [
    ("a: [", "neither valid YAML nor JSON"), ("- 1", "expected a mapping"), ("scale: 2", "no data set block"),
    ("datasets: {train: 3}", "'train' is of type int"),
    ("!!python/object/apply:os.system ['touch x']", "neither valid YAML"),
    ("\x00", "neither valid YAML"), ("", "expected a mapping"),
])
def test_wrong_configurations_are_named(tmp_path, text, match):
    path = tmp_path / "bad.yml"
    path.write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        load_options(path)
    assert "bad.yml" in str(caught.value)
    assert not (tmp_path / "x").exists()


NESTED = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
MERGED = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]


@pytest.mark.parametrize("lines", [
    NESTED, MERGED, ["a: &a [*a]"], ["a: " + "[" * 5000], ["a: " + "{a: " * 5000], ["# " + "x" * (1 << 20)],
    ["a: " + "9" * 5000]],
    ids=["nested", "merged", "circle", "deep", "deep mappings", "large", "digits"])
@pytest.mark.parametrize("read", [load_options, read_options])
def test_R6_files_that_unfold_without_end_are_refused_at_once(read, lines, tmp_path):
    """Nine levels of ten references are a thousand million items when gone through one by one."""
    (tmp_path / "bomb.yml").write_text("mode: none\n" + "\n".join(lines))
    with within_bounds(seconds=2, size=1 << 29), pytest.raises(InputError, match="bomb.yml: neither valid YAML"):
        read(tmp_path / "bomb.yml")


def test_anchors_that_are_used_a_few_times_are_no_trouble(tmp_path):
    (tmp_path / "a.yml").write_text("datasets:\n  train: &a {mode: x, b: [1, 2]}\n  val: {<<: *a, c: 1}\n")
    assert load_options(tmp_path / "a.yml")["val"]["b"] == [1, 2]


def test_unknown_and_missing_modes():
    assert {"single_image_extensible", "multi_frame_extensible", "paired_frame"} <= set(known_modes())
    with pytest.raises(InputError, match="Did you mean single_image_extensible"):
        create_dataset({"mode": "single_image_extensable"})
    with pytest.raises(InputError, match="'mode' is missing"):
        create_dataset({})
    with pytest.raises(InputError, match="expected a dictionary"):
        create_dataset("single_image_extensible")


def test_missing_keys_come_in_one_message():
    with pytest.raises(InputError, match="'paths', 'target_size', 'scale', 'num_frames' are missing"):
        create_dataset({"mode": "multi_frame_extensible"})
    check_required({"a": 1, "eval": True}, ("a", ("scale", "eval")), "x")


def test_every_registered_class_can_be_imported():
    import importlib

    for place in known_modes().values():
        module, _, name = place.partition(":")
        assert hasattr(importlib.import_module(module), name)


def batches(root, workers, epochs=2, **more):
    """Return the batches of some epochs as lists of (paths, low-quality images)."""
    options = options_for(root, **CORRUPTIONS, phase="train", batch_size=4, n_workers=workers, **more)
    loader = create_dataloader(create_dataset(options), options)
    return [[(batch["GT_path"], batch["lq"]) for batch in loader] for _ in range(epochs)]


def same(ours, theirs):
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for x, y in zip(ours, theirs, strict=True) for a,
               b in zip(x, y, strict=True))


def test_batches_do_not_depend_on_the_number_of_workers(tmp_path):
    root = make_folders(tmp_path / "set", names=[f"f{number}" for number in range(5)])
    alone = batches(root, 0)
    assert [len(epoch) for epoch in alone] == [2, 2]  # of 10 items, in fours
    assert alone[0][0][0] != alone[1][0][0]  # the second epoch has another order
    assert not torch.equal(alone[0][0][1], alone[1][0][1])
    for workers, more in ((1, {}), (2, {}), (2, {"persistent_workers": True})):
        assert same(alone, batches(root, workers, **more))
    assert not same(alone, batches(root, 0, random_seed=5))


def test_a_resumed_epoch_is_the_same(tmp_path):
    root = make_folders(tmp_path / "set", names=[f"f{number}" for number in range(5)])
    options = options_for(root, **CORRUPTIONS, phase="train", batch_size=4)
    loader = create_dataloader(create_dataset(options), options)
    loader.set_epoch(1)
    assert same([[(batch["GT_path"], batch["lq"]) for batch in loader]], batches(root, 0)[1:])


def test_other_phases_read_everything_in_order(tmp_path):
    root = make_folders(tmp_path / "set")
    options = options_for(root, phase="val", n_workers=3)
    dataset = create_dataset(options)
    loader = create_dataloader(dataset, options)
    assert loader.num_workers == 0
    assert [path for batch in loader for path in batch["GT_path"]] == dataset.get_paths()
    assert [batch["hq"].shape[0] for batch in create_dataloader(dataset, {**options, "batch_size": 4})] == [4, 2]


def test_an_error_in_a_worker_is_one_line_that_names_the_file(tmp_path):
    root = make_folders(tmp_path / "set")
    options = options_for(root, phase="train", batch_size=2, n_workers=1)
    dataset = create_dataset(options)
    (tmp_path / "set/b_left_1/00000011.png").write_bytes(b"x")
    with pytest.raises(InputError, match="^.*00000011.png: not a readable image") as caught:
        list(create_dataloader(dataset, options))
    assert "Traceback" not in str(caught.value)


def test_no_warning_without_an_accelerator(tmp_path):
    root = make_folders(tmp_path / "set")
    options = options_for(root, phase="train", batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(create_dataloader(create_dataset(options), options))


def test_a_sampler_divides_an_epoch_among_processes():
    parts = [list(EpochSampler(10, seed=1, rank=rank, world=3)) for rank in range(3)]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert set().union(*parts) == set(range(10))
    assert len(list(EpochSampler(10, ratio=2.5))) == 25
    assert list(EpochSampler(4, shuffle=False)) == [0, 1, 2, 3]


def test_batch_size_must_be_a_multiple_of_the_processes(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    root = make_folders(tmp_path / "set")
    options = options_for(root, phase="train", batch_size=3)
    dataset = create_dataset(options)
    with pytest.raises(InputError, match="not divisible by 2 processes"):
        create_dataloader(dataset, options, {"dist": True})
    loader = create_dataloader(dataset, {**options, "batch_size": 4}, {"dist": True})
    assert (loader.batch_size, len(loader.sampler)) == (2, 3)


def test_collate():
    batch = collate_items([{"x": torch.ones(2), "name": "a", "n": 1, "none": None},
                           {"x": torch.zeros(2), "name": "b", "n": 2, "none": None}])
    assert batch["x"].shape == (2, 2)
    assert (batch["name"], batch["n"].tolist(), batch["none"]) == (["a", "b"], [1, 2], None)
    with pytest.raises(InputError, match="'x' cannot be batched"):
        collate_items([{"x": torch.ones(2)}, {"x": torch.ones(3)}])
    with pytest.raises(InputError, match="'y' is not in every item"):
        collate_items([{"x": 1, "y": 2}, {"x": 1}])
