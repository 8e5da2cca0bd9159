"""generate_outputs_npz: rows of every image, degraded once, beside its own truth, in a file that the original reads."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets.degradations import degrade, network_input
from common.datasets.latents import find_pairs, read_latents
from common.errors import InputError
from common.networks.quantile_encoder_weights import load_quantile_encoder
from common.rcps.outputs import KEYS, LOWER, POINT, TRUTH, UPPER, Outputs, save_outputs
from tests.tools.commands import ROOT, call_tool, refusal_of, results_of
from tests.tools.float64_guard import NoFloat64
from tests.tools.interval_networks import SIDE, num_dims, save_encoder, save_generator

MODEL = Path("assets/super_resolution/models/superres_alpha_0.1.pt")
ONE, FOUR = "data/generated/1x", "data/generated/4x"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with 11 images at factors 1 and 4, and an encoder."""
    folder = tmp_path_factory.mktemp("made")
    save_generator(folder / "g.pt")
    save_encoder(folder / MODEL)
    results_of("generate_ffhq", "--stylegan_path", folder / "g.pt", "--num_images", 11, "--resize_factors", "1,4",
               "--encoder_size", SIDE, "--output_base_dir", folder / "data", "--device", "cpu")
    return folder


@pytest.fixture(autouse=True)
def here(own_folder, made):
    shutil.copytree(made, own_folder, dirs_exist_ok=True)
    return own_folder


def words(factor=4, images=ONE, out="out/outputs.npz", *more):
    return ("--resize_factor", factor, "--image_dir", images, "--output_path", out, "--device", "cpu", *more)


def encode(*arguments):
    return results_of("generate_outputs_npz", *words(*arguments))


def refused(*arguments):
    return refusal_of("generate_outputs_npz", *words(*arguments))


@pytest.mark.parametrize("place", ["/", ".", "..", "out/.."])
def test_an_output_without_a_name_is_refused(place):
    assert "this is a folder. Pass the path of a file." in refused(4, ONE, place)


def test_a_side_beyond_all_pictures_is_refused():
    line = refused(4, ONE, "out/outputs.npz", "--encoder_size", 2**32)
    assert line.startswith("error: --encoder_size 4294967296: must be from 1 to 8"), line


def arrays(path="out/outputs.npz"):
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def test_rows_are_the_encoders_values_and_the_truth_by_name():
    results = encode()
    file, pairs = load_quantile_encoder(MODEL), find_pairs(ONE)
    assert results == {**results, "num_images": 11, "with_truth": 11, "num_dims": num_dims(), "resize_factor": 4,
                       "degraded_before": False, "encoder_size": SIDE, "statistics": "encoder"}
    found = arrays()
    assert found["image_names"].tolist() == [f"img_{number:05d}.png" for number in range(1, 12)]
    x = network_input(np.stack([degrade(Image.open(pair.image), 4, SIDE) for pair in pairs]))
    for column, key in enumerate((LOWER, POINT, UPPER)):
        np.testing.assert_allclose(found[key], file.network(x)[:, column], rtol=1e-4, atol=1e-5)
        assert found[key].dtype == np.float32
    assert (found[TRUTH] == np.stack([read_latents(pair.latents).style_vectors for pair in pairs])).all()
    assert (found["mean_style_space_vector"] == 1).all()
    assert (found["min_style_space_vector"] == -3).all()
    assert found["style_dims"][0] == 0
    assert found["style_dims"].sum() == num_dims()
    assert (int(found["resize_factor"]), str(found["statistics"])) == (4, "encoder")
    assert str(found["encoder"]) == results["encoder"]
    assert found["has_truth"].all()
    assert Outputs("out/outputs.npz").columns([3, 1])[POINT].shape == (11, 2)


def test_degradation_happens_once():
    encode(4, ONE, "one/outputs.npz")
    assert encode(4, FOUR, "four/outputs.npz")["degraded_before"] is True
    assert Path("one/outputs.npz").read_bytes() == Path("four/outputs.npz").read_bytes()
    assert "degraded by 4 already. Pass --resize_factor 4" in refused(8, FOUR, "eight/outputs.npz")
    assert "degraded by 4 already" in refused(1, FOUR, "eight/outputs.npz")
    assert not Path("eight").exists()


def test_images_of_two_factors_are_refused():
    shutil.copytree(FOUR, "data/generated/1x/inner")
    line = refused()
    assert "inner/latents_00001.npz" in line
    assert "degraded by 4, others of the folder by 1" in line


def test_images_degraded_for_another_encoder_are_refused():
    assert "was degraded for an encoder of 16 px, this one takes 32 px" in \
        refused(4, FOUR, "out/outputs.npz", "--encoder_size", 32)


def test_a_folder_without_latents_is_known_by_its_name():
    for path in Path(FOUR).glob("latents_*"):
        path.unlink()
    assert "is taken to hold images that are degraded by 4" in call_tool("generate_outputs_npz", *words(4, FOUR)).err
    assert "degraded by 4 already" in refused(8, FOUR, "eight/outputs.npz")


def test_the_first_half_of_the_images_gives_the_first_half_of_the_rows():
    for index, pair in enumerate(find_pairs(ONE)):
        if index < 5:
            for path in (pair.image, pair.latents):
                Path("half").mkdir(exist_ok=True)
                shutil.copy(path, "half")
    encode()
    encode(4, "half", "half_out/outputs.npz")
    whole, half = arrays(), arrays("half_out/outputs.npz")
    for name, array in half.items():
        expected = whole[name][:5] if len(array.shape) and len(array) == 5 else whole[name]
        assert array.tobytes() == np.ascontiguousarray(expected).astype(array.dtype).tobytes(), name


def test_names_not_numbers():
    Path("named").mkdir()
    for number, name in zip((1, 2, 3), (1, 10, 2)):
        shutil.copy(f"{ONE}/img_{number:05d}.png", f"named/img_{name}.png")
        shutil.copy(f"{ONE}/latents_{number:05d}.npz", f"named/latents_{name}.npz")
    encode(4, "named")
    assert arrays()["image_names"].tolist() == ["img_1.png", "img_2.png", "img_10.png"]
    encode(4, ONE, "whole/outputs.npz")
    for key in KEYS:
        np.testing.assert_allclose(arrays()[key], arrays("whole/outputs.npz")[key][[0, 2, 1]], rtol=1e-4, atol=1e-5)


def test_nested_folders_are_read():
    shutil.copytree(ONE, "nested/00010")
    shutil.copytree(ONE, "nested/00002")
    assert encode(1, "nested")["num_images"] == 22
    assert arrays()["image_names"][[0, 11]].tolist() == ["00002/img_00001.png", "00010/img_00001.png"]


def test_counts_differ():
    Path(ONE, "latents_00004.npz").unlink()
    line = refused()
    assert "img_00004.png: has no latents: no latents_00004.npz (none for 1 of 11 images)" in line
    assert "--allow_missing_truth" in line
    assert not Path("out").exists()
    assert encode(4, ONE, "out/outputs.npz", "--allow_missing_truth")["with_truth"] == 10
    found = arrays()
    assert found["has_truth"].tolist() == [number != 4 for number in range(1, 12)]
    assert np.isnan(found[TRUTH][3]).all()
    assert not np.isnan(found[POINT]).any()
    Path(ONE, "img_00005.png").unlink()
    ended = call_tool("generate_outputs_npz", *words(4, ONE, "lost/outputs.npz", "--allow_missing_truth"))
    assert "no image for 1 latents file, data/generated/1x/latents_00005.npz the first" in ended.err


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"no image",
                                    lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:]])
def test_a_corrupt_image_is_named_and_nothing_is_written(damage):
    path = Path(ONE, "img_00007.png")
    path.write_bytes(damage(path.read_bytes()))
    for more in ((), ("--allow_missing_truth",)):
        line = refused(4, ONE, "out/outputs.npz", *more)
        assert "img_00007.png: not a readable image" in line
    assert not Path("out").exists()


def test_a_corrupt_jpeg_is_named():
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save("a.jpg")
    Path("photos").mkdir()
    Path("photos/a.jpg").write_bytes(Path("a.jpg").read_bytes()[:1500])
    assert "photos/a.jpg: not a readable image" in refused(1, "photos")


def test_photographs_have_no_truth():
    Path("photos").mkdir()
    for name in ("b.jpg", "a.png"):
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(f"photos/{name}")
    ended = call_tool("generate_outputs_npz", *words(4, "photos"))
    assert "note: no latents in photos: the truth is NaN in every row" in ended.err
    found = arrays()
    assert np.isnan(found[TRUTH]).all()
    assert not found["has_truth"].any()
    assert found["image_names"].tolist() == ["a.png", "b.jpg"]
    np.testing.assert_allclose(found[POINT][0], found[POINT][1], rtol=1e-4, atol=1e-5)  # both are of one grey
    assert (found["mean_style_space_vector"] == 1).all()


def test_statistics_are_of_the_file_where_the_encoder_has_none():
    save_encoder(Path("bare/super_resolution/models/superres_alpha_0.1.pt"), statistics=False)
    Path(ONE, "latents_00004.npz").unlink()
    ended = call_tool("generate_outputs_npz", *words(4, ONE, "out/outputs.npz", "--base_dir", "bare",
                                                     "--allow_missing_truth"))
    assert ended.status == 0, ended.err
    assert "the encoder has no stored mean" in ended.err
    found = arrays()
    kept = np.delete(found[TRUTH], 3, axis=0)
    np.testing.assert_allclose(found["mean_style_space_vector"], kept.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert (found["max_style_space_vector"] == kept.max(axis=0)).all()
    assert str(found["statistics"]) == "file"


def test_latents_of_another_generator_are_refused():
    save_encoder(Path("other/super_resolution/models/superres_alpha_0.1.pt"), style_dims=30)
    assert f"'style_vectors' has {num_dims()} numbers, expected 30" in refused(4, ONE, "out/outputs.npz", "--base_dir",
                                                                               "other")


def test_a_missing_encoder_is_named():
    assert "assets/mine/models/superres_alpha_0.1.pt: no such encoder. Train one with train_quantile_encoder" in \
        refused(4, ONE, "out/outputs.npz", "--exp_name", "mine")


def test_beside_the_images():
    """Option A of the documented tree: outputs.npz in the folder of its images."""
    results_of("generate_ffhq", "--stylegan_path", "g.pt", "--num_images", 4, "--resize_factors", "1,4",
               "--encoder_size", SIDE, "--layout", "calibration", "--device", "cpu")
    folder = "assets/super_resolution/data/calibration_set_outputs_generated_data/4"
    line = words(4, folder, f"{folder}/outputs.npz")
    assert results_of("generate_outputs_npz", *line)["num_images"] == 4
    before = Path(folder, "outputs.npz").stat().st_mtime_ns
    assert "up to date" in call_tool("generate_outputs_npz", *line).err
    assert before == Path(folder, "outputs.npz").stat().st_mtime_ns
    results_of("generate_ffhq", "--stylegan_path", "g.pt", "--num_images", 5, "--resize_factors", "1,4",
               "--encoder_size", SIDE, "--layout", "calibration", "--device", "cpu")
    ended = call_tool("generate_outputs_npz", *line)
    assert "changed since the last run: images" in ended.err
    assert len(arrays(f"{folder}/outputs.npz")[POINT]) == 5


def test_a_separate_flat_folder_can_hold_its_outputs():
    results_of("generate_ffhq", "--stylegan_path", "g.pt", "--num_images", 3, "--layout", "separate", "--device", "cpu")
    folder = "assets/super_resolution/data/ffhq_generated"
    assert results_of("generate_outputs_npz", *words(1, folder, f"{folder}/outputs.npz"))["num_images"] == 3
    assert Path(folder, "outputs_record/run.json").exists()


def test_several_files_in_one_folder():
    encode(1, ONE, "out/easy.npz")
    encode(4, ONE, "out/hard.npz")
    assert not (arrays("out/easy.npz")[POINT] == arrays("out/hard.npz")[POINT]).all()
    assert "resize_factor 1" in refused(4, ONE, "out/easy.npz")


def test_what_stands_in_the_way_is_not_replaced():
    Path("out").mkdir()
    Path("out/outputs.npz").write_bytes(b"of the original script")
    assert "is in the way" in refused()
    encode(4, ONE, "out/outputs.npz", "--overwrite")


def test_another_encoder_is_refused_and_a_dry_run_writes_nothing():
    ended = call_tool("generate_outputs_npz", *words(4, ONE, "out/outputs.npz", "--dry_run"))
    assert "would encode 11 images at factor 4" in ended.err
    assert not Path("out").exists()
    encode()
    save_encoder(MODEL, seed=1)
    assert "encoder" in refused()


def test_interrupted_rows_are_kept(monkeypatch):
    """An error in the middle leaves the rows that were done; the next run makes the others alone."""
    from tools.generate_outputs_npz import encode as module

    monkeypatch.setattr(module, "PIXELS", 2 * SIDE**2)  # units of two images
    whole, seen = "whole/outputs.npz", []
    encode(4, ONE, whole)
    real = module.Encoding.compute

    def compute(self, loaded):
        seen.append(loaded[0])
        if len(seen) == 4:
            raise KeyboardInterrupt
        return real(self, loaded)

    monkeypatch.setattr(module.Encoding, "compute", compute)
    assert call_tool("generate_outputs_npz", *words()).status == 130
    assert not Path("out/outputs.npz").exists()
    encode()
    assert len(seen) in (7, 8, 9)  # of 6 units three were made, at most two of them not written
    assert Path("out/outputs.npz").read_bytes() == Path(whole).read_bytes()
    assert sorted(path.name for path in Path("out").iterdir()) == ["outputs.npz", "run.json"]
    shutil.rmtree("out")
    seen.clear()
    assert call_tool("generate_outputs_npz", *words()).status == 130
    Path(ONE, "img_00001.png").unlink()  # other images: the rows that are there belong to none of them
    seen += [None] * 4
    encode()
    assert arrays()["image_names"][0] == "img_00002.png"
    assert (arrays()[POINT] == arrays(whole)[POINT][1:]).mean() > 0.5


def mutated(data, draws):
    """Return the bytes with a few of them changed, cut out or doubled."""
    data = bytearray(data)
    for _ in range(draws.randint(1, 4)):
        place, kind = draws.randrange(len(data)), draws.random()
        if kind < 0.6:
            data[place] = draws.randrange(256)
        elif kind < 0.8:
            del data[place : place + draws.randint(1, 30)]
        else:
            data[place:place] = data[place : place + draws.randint(1, 30)]
    return bytes(data)


def try_mutations(count):
    """Put mutated latents among the images, and a mutated outputs.npz before its reader; every end is 0 or 2."""
    encode()
    whole, draws, ends = Path("out/outputs.npz").read_bytes(), random.Random(0), set()
    Path("few").mkdir()
    for name in ("img_00001.png", "latents_00001.npz"):
        shutil.copy(f"{ONE}/{name}", "few")
    latents = Path("few/latents_00001.npz").read_bytes()
    for number in range(count):
        Path("few/latents_00001.npz").write_bytes(mutated(latents, draws))
        ended = call_tool("generate_outputs_npz", *words(4, "few", "mutated/outputs.npz", "--quiet", "--overwrite"))
        assert ended.status in (0, 2), (number, ended.err)
        assert ended.status == 0 or ended.err.count("\n") == 1
        Path("mutated.npz").write_bytes(mutated(whole, draws))
        read = call_tool("calibrate_rcps", "validate", "--outputs", "mutated.npz", "--quiet")
        assert read.status in (0, 2), (number, read.err)
        ends |= {ended.status, read.status}
    assert 2 in ends


def test_mutated_files_end_well():
    try_mutations(15)


@pytest.mark.long
def test_200_mutated_files_end_well():
    try_mutations(200)


def test_mps_has_no_float64():
    from tools.generate_outputs_npz.encode import Encoding
    from tools.generate_outputs_npz.images import Images

    with NoFloat64():
        file = load_quantile_encoder(MODEL)
        images = Images(ONE, 4, SIDE, num_dims(), False)
        encoding = Encoding(Path("out/outputs.npz"), images, file, "", SIDE, 4, torch.device("cpu"))
        _, rows = encoding.compute(encoding.load(0))
    assert rows[POINT].shape == (11, num_dims())


PEAK = """
import resource, sys
from tools.generate_outputs_npz.__main__ import cli
status = cli(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in kilobytes")
def test_memory_does_not_grow_with_the_number_of_images():
    dims, peaks, image = 1500, {}, Path(ONE, "img_00001.png").read_bytes()
    save_encoder(Path("wide/super_resolution/models/superres_alpha_0.1.pt"), style_dims=dims)
    for count in (200, 1200):  # 1,000 more images: 24 MB of outputs
        folder = Path(f"many_{count}")
        folder.mkdir()
        for number in range(count):
            (folder / f"img_{number}.png").write_bytes(image)
            np.savez(folder / f"latents_{number}.npz", style_vectors=np.full(dims, number, np.float32))
        done = subprocess.run([sys.executable, "-c", PEAK, *map(str, words(4, folder, f"out/{count}.npz", "--base_dir",
                                                                           "wide", "--quiet"))],
                              env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
                              check=True)
        peaks[count] = int(done.stdout.split()[-1]) / 1024
    assert peaks[1200] - peaks[200] < 20, peaks


def test_arrays_of_ones_own_make_the_same_file():
    encode()
    whole = arrays()
    save_outputs("own.npz", list(whole[TRUTH][:, None]), whole[POINT], whole[LOWER], whole[UPPER], centre=1.0,
                 image_names=whole["image_names"], resize_factor=4, style_dims=whole["style_dims"],
                 encoder=str(whole["encoder"]))
    own = arrays("own.npz")
    for name in {*whole} - {"statistics", "min_style_space_vector", "max_style_space_vector"}:
        assert (own[name] == whole[name]).all(), name
    assert (own["max_style_space_vector"] == whole[TRUTH].max(axis=0)).all()
    save_outputs("own.npz", None, whole[POINT], whole[LOWER], whole[UPPER])
    assert not arrays("own.npz")["has_truth"].any()
    for change, message in (({"lower": whole[LOWER][:3]}, "all_sv_hat_lq"),
                            ({"upper": np.full_like(whole[UPPER], np.inf)}, "row 0 holds NaN"),
                            ({"truth": [np.zeros(3), np.zeros(2)]}, "several lengths")):
        given = {"truth": whole[TRUTH], "point": whole[POINT], "lower": whole[LOWER], "upper": whole[UPPER], **change}
        with pytest.raises(InputError, match=message):
            save_outputs("wrong.npz", **given)
    assert json.loads(Path("out/run.json").read_text())["results"]["num_images"] == 11


def test_images_of_two_generators_are_refused():
    save_generator(Path("other.pt"), seed=1)
    results_of("generate_ffhq", "--stylegan_path", "other.pt", "--num_images", 1, "--first_index", 12, "--device",
               "cpu", "--output_base_dir", "other")
    for name in ("img_00012.png", "latents_00012.npz"):
        shutil.copy(f"other/generated/1x/{name}", ONE)
    assert f"{ONE}/latents_00012.npz: comes from a different generator than {ONE}/latents_00001.npz" in refused()


def test_a_path_ends_as_savez_ends_it_and_the_encoders_own_size_is_the_same_job():
    assert encode(4, ONE, "out/outputs")["output"] == "out/outputs.npz"
    before = Path("out/run.json").read_bytes()
    encode(4, ONE, "out/outputs.npz", "--encoder_size", SIDE)
    assert Path("out/run.json").read_bytes() == before


def test_two_images_of_one_latents_file_are_refused():
    Image.open(f"{ONE}/img_00003.png").save(f"{ONE}/img_00003.webp")
    assert f"img_00003.webp: has the latents of {ONE}/img_00003.png, too: latents_00003.npz" in refused()


@pytest.mark.parametrize("place", [f"{ONE}/img_00002.png", f"{ONE}/latents_00002.npz", str(MODEL)])
def test_a_named_pipe_is_refused_and_not_waited_for(place):
    os.remove(place)
    os.mkfifo(place)
    assert f"{place}: is a pipe or a socket, not a file" in refused()


def test_a_named_pipe_as_outputs_or_coordinates_is_refused():
    encode()
    os.mkfifo("pipe")
    assert "pipe: is a pipe" in refusal_of("calibrate_rcps", "--outputs", "a=pipe", "--dims", "all")
    assert "pipe: is a pipe" in refusal_of("calibrate_rcps", "--outputs", "a=out/outputs.npz", "--dims", "pipe")
    assert "pipe: is a pipe" in refusal_of("calibrate_rcps", "validate", "--outputs", "pipe")
    assert "pipe: is a pipe" in refusal_of("generate_ffhq", "--stylegan_path", "pipe", "--device", "cpu")
