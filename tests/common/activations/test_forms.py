"""Both forms of activations: what is written is read, units are whole or absent, old layouts are understood."""

import json

import numpy as np
import pytest

from common.activations import open_activations
from common.activations.flat import NpyForm
from common.activations.layout import Tree, write_info
from common.activations.store import NpzForm
from common.errors import InputError

WIDTHS = {"midblock": 6, "encoder_bottleneck": 4}  # not in the order of their names


def make(count, seed=0):
    draws = np.random.default_rng(seed)
    return {layer: draws.standard_normal((count, width)).astype(np.float32) for layer, width in WIDTHS.items()}


def joined(arrays):
    """Return all layers side by side, in the order of their names."""
    return np.hstack([arrays[layer] for layer in sorted(arrays)])


def fill(tree, kind, arrays, count, per_unit, left_out=(), **more):
    """Write all units and the metadata; rows in `left_out` (positions) are not there."""
    form = kind(tree, WIDTHS, "float32", count, per_unit, **more)
    form.prepare()
    samples = []
    for unit, start in enumerate(range(0, count, per_unit)):
        assert form.rows_there(unit) is None
        places = [place for place in range(min(per_unit, count - start)) if start + place not in left_out]
        form.write(unit, places, {layer: rows[start : start + per_unit][places] for layer, rows in arrays.items()})
        assert form.rows_there(unit) == len(places)
        samples += [(start + place, row) for row, place in enumerate(places)]
    form.finish()
    samples = [{"sample_id": f"sample_{position:06d}", "activation_path": form.place(position, row)[0],
                "batch_index": form.place(position, row)[1]} for position, row in samples]
    write_info(tree.info, {"layers": list(WIDTHS), "num_samples": len(samples)}, iter(samples), len(samples))
    assert all(path.exists() for path in form.outputs())
    return form


@pytest.mark.parametrize("kind", [NpzForm, NpyForm])
@pytest.mark.parametrize("left_out", [(), (0,), (3, 4), (9,)])
def test_what_is_written_is_read(kind, left_out, tmp_path):
    arrays = make(10)
    fill(Tree(tmp_path, "imagenet"), kind, arrays, 10, 4, left_out)
    kept = [number for number in range(10) if number not in left_out]
    activations = open_activations(tmp_path, "imagenet")
    assert (activations.num_samples, sorted(activations.layers)) == (len(kept), sorted(WIDTHS))
    rows = activations.rows()
    expected = joined(arrays)[kept]
    assert (rows.shape, rows.dtype, rows.layers) == (expected.shape, np.float32, sorted(WIDTHS))
    np.testing.assert_array_equal(rows[:], expected)
    np.testing.assert_array_equal(rows[2:7], expected[2:7])
    np.testing.assert_array_equal(activations.rows("midblock")[5:], arrays["midblock"][kept][5:])
    assert rows[4:4].shape == (0, 10)
    with pytest.raises(InputError, match="no activations of layer"):
        activations.rows("decoder_block_3")


def test_the_fast_form_has_partial_names_until_it_is_done(tmp_path):
    tree = Tree(tmp_path, "imagenet")
    form = NpyForm(tree, WIDTHS, "float16", 5, 4)
    form.prepare()
    arrays = make(5)
    form.write(1, [0], {layer: rows[4:] for layer, rows in arrays.items()})
    assert {path.name for path in tree.activations.iterdir()} == {"done.mask.partial", "activations.npy.partial"}
    again = NpyForm(tree, WIDTHS, "float16", 5, 4)  # as after a kill
    again.prepare()
    assert (again.rows_there(0), again.rows_there(1)) == (None, 1)
    again.write(0, range(4), {layer: rows[:4] for layer, rows in arrays.items()})
    again.finish()
    np.testing.assert_array_equal(np.load(tree.activations / "activations.npy"), joined(arrays).astype(np.float16))
    assert (tree.activations / "done.mask").read_bytes() == bytes([1] * 5)


def test_the_fast_form_grows(tmp_path):
    tree, arrays = Tree(tmp_path, "imagenet"), make(11)
    fill(tree, NpyForm, {layer: rows[:6] for layer, rows in arrays.items()}, 6, 4)
    form = NpyForm(tree, WIDTHS, "float32", 11, 4)
    form.prepare()
    assert [form.rows_there(unit) for unit in range(3)] == [4, None, None]
    for unit in (1, 2):
        count = min(4, 11 - 4 * unit)
        form.write(unit, range(count), {layer: rows[4 * unit : 4 * unit + 4] for layer, rows in arrays.items()})
    form.finish()
    np.testing.assert_array_equal(np.load(tree.activations / "activations.npy"), joined(arrays))


def test_a_damaged_batch_is_not_there(tmp_path):
    form = fill(Tree(tmp_path, "imagenet"), NpzForm, make(8), 8, 4)
    path = form.path(1)
    path.write_bytes(path.read_bytes()[:-30])
    assert (form.rows_there(0), form.rows_there(1)) == (4, None)
    with pytest.raises(InputError, match="batch_000001"):
        open_activations(tmp_path, "imagenet").rows()[:]


@pytest.mark.parametrize("shape", [(1, -1), (-1,)])
def test_a_file_for_each_sample_is_read(shape, tmp_path):
    arrays, tree = make(3), Tree(tmp_path, "imagenet")
    tree.activations.mkdir(parents=True)
    for number in range(3):
        np.savez(tree.activations / f"sample_{number:06d}",
                 **{name: rows[number].reshape(shape) for name, rows in arrays.items()})
    samples = [{"activation_path": f"imagenet/sample_{number:06d}"} for number in range(3)]
    write_info(tree.info, {"num_samples": 3}, samples, 3)
    rows = open_activations(tmp_path, "imagenet").rows()
    np.testing.assert_array_equal(rows[:], np.hstack([arrays["encoder_bottleneck"], arrays["midblock"]]))


def test_a_flat_set_is_read(tmp_path):
    arrays, tree = make(3), Tree(tmp_path, "imagenet_real")
    tree.activations.mkdir(parents=True)
    np.save(tree.activations / "all.npy", np.hstack([arrays["encoder_bottleneck"], arrays["midblock"]]))
    told = {"layers": sorted(WIDTHS), "shapes": {"midblock": [6], "encoder_bottleneck": [1, 2, 2]},
            "total_features": 10, "num_samples": 3, "dtype": "float32"}
    (tree.activations / "all.npy.json").write_text(json.dumps(told))
    write_info(tree.info, {"num_samples": 3}, [{"batch_index": number} for number in range(3)], 3)
    activations = open_activations(tmp_path, "imagenet_real")
    np.testing.assert_array_equal(activations.rows("midblock")[1:], arrays["midblock"][1:])
    np.testing.assert_array_equal(activations.rows()[:], np.hstack([arrays["encoder_bottleneck"], arrays["midblock"]]))


def test_missing_activations_are_reported(tmp_path):
    with pytest.raises(InputError, match="no activations of 'imagenet'"):
        open_activations(tmp_path, "imagenet")
    fill(Tree(tmp_path, "imagenet_real"), NpzForm, make(2), 2, 2)
    with pytest.raises(InputError, match="Available: imagenet_real"):
        open_activations(tmp_path, "imagenet")


def test_metadata_are_json_as_documented(tmp_path):
    samples = [{"sample_id": "sample_000000", "n": [1, 2]}, {"sample_id": "sample_000001", "n": []}]
    write_info(tmp_path / "info.json", {"layers": ["a"], "sigma": float("inf")}, samples, 2)
    value = {"layers": ["a"], "sigma": None, "samples": samples}
    assert (tmp_path / "info.json").read_text() == json.dumps(value, indent=2) + "\n"


@pytest.mark.parametrize("left_out", [(), (1, 6)])
def test_the_fast_form_ends_the_same_wherever_it_was_killed_while_taking_its_final_name(left_out, tmp_path):
    def begun(name):
        form = NpyForm(Tree(tmp_path / name, "imagenet"), WIDTHS, "float32", 8, 4)
        form.prepare()
        for unit in (0, 1):
            places = [place for place in range(4) if 4 * unit + place not in left_out]
            form.write(unit, places, {layer: rows[4 * unit :][places] for layer, rows in arrays.items()})
        return form

    arrays = make(8)
    whole = begun("whole")
    whole.finish()
    expected = {path.name: path.read_bytes() for path in whole.tree.activations.iterdir()}
    assert sorted(expected) == ["activations.npy", "activations.npy.json", "done.mask"]
    for kept in (("activations.npy",), ("activations.npy", "activations.npy.json")):
        for partial in ((), ("activations.npy.partial",)):
            form = begun(f"killed{len(kept)}{len(partial)}")
            form.close()
            folder = form.tree.activations
            if not partial:  # it was taken away before the mask got its name
                (folder / "activations.npy.partial").unlink()
            for name in kept:
                (folder / name).write_bytes(expected[name])
            again = NpyForm(form.tree, WIDTHS, "float32", 8, 4)
            again.prepare()
            assert [again.rows_there(unit) for unit in (0, 1)] == [4 - sum(n < 4 for n in left_out),
                                                                   4 - sum(n >= 4 for n in left_out)]
            again.finish()
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected


@pytest.mark.parametrize("form", ["npy", "flat"])
def test_a_width_that_no_file_has_is_refused_before_memory_is_taken(form, tmp_path):
    tree, huge = Tree(tmp_path, "imagenet"), 10**13
    fill(tree, NpyForm, make(4), 4, 4)
    if form == "npy":  # of earlier versions: one for each layer
        np.save(tree.activations / "done.npy", np.ones(4, bool))
        with open(tree.activations / "midblock.npy", "wb") as stream:
            np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (4, huge)})
            stream.write(bytes(96))
    else:
        description = {"layers": ["a", "b"], "shapes": {"a": [huge], "b": [4]}}
        (tree.activations / "activations.npy.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"ends within the first row|does not match its json"):
        open_activations(tmp_path, "imagenet").rows()
