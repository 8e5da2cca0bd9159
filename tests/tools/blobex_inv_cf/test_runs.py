"""Runs of blobex_inv_cf: resumed, extended, in several processes, sweeps, numbered blobs."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.tools.blobex_inv_cf.runs import WORDS, lines, metadata
from tests.tools.commands import call_tool, refusal_of, results_of, torchrun_tool
from tests.tools.every_command import contents


def run(*words):
    return results_of("blobex_inv_cf", *WORDS, *words)


def lasting(folder):
    """Return {path: bytes} of all that a run leaves but its record, which holds times."""
    return {path: data for path, data in contents(folder).items() if not path.endswith(".json") or "inversions" in path}


def test_a_run_killed_between_batches_ends_with_the_same_bytes_and_passes_over_what_is_done(here, monkeypatch):
    from tools.blobex_inv_cf import outputs

    class Killed(BaseException):
        pass

    done, real = [], outputs.write_metadata

    def write(path, value):
        if len(done) == 1:
            raise Killed
        done.append(path.name)
        real(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_metadata", write)
        with pytest.raises(Killed):
            call_tool("blobex_inv_cf", *WORDS, "--output_dir", "cut")
    assert done == ["metadata_0.pt"]
    stamp = (here / "cut" / "metadata_0.pt").stat().st_mtime_ns
    assert run("--output_dir", "cut") == run()
    assert (here / "cut" / "metadata_0.pt").stat().st_mtime_ns == stamp
    assert lasting("cut") == lasting("out")
    assert "out: up to date" in call_tool("blobex_inv_cf", *WORDS).err


@pytest.mark.parametrize("damage", ["cut short", "missing", "another snapshot"])
def test_a_unit_that_is_not_complete_is_made_again(damage, here):
    expected = lasting("out")
    path = here / "out" / ("snapshot_1.jpg" if damage == "another snapshot" else "metadata_1.pt")
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:500])
    else:
        path.unlink()
    run()
    assert lasting("out") == expected


def test_max_images_extends_a_run_and_its_last_batch(here):
    run("--max_images", "4", "--output_dir", "grown")
    assert metadata(1, "grown")["image_names"] == ["03.png"]
    stamp = (here / "grown" / "metadata_0.pt").stat().st_mtime_ns
    assert run("--max_images", "5", "--output_dir", "grown")["images"] == 5
    assert (here / "grown" / "metadata_0.pt").stat().st_mtime_ns == stamp
    assert lasting("grown") == lasting("out")
    assert "max_images" in refusal_of("blobex_inv_cf", *WORDS, "--max_images", "4", "--output_dir", "grown")


def test_num_imgs_extends_generated_ones(here):
    words = ("--noreal_images", "--target_attributes", "0")
    run(*words, "--num_imgs", "2", "--output_dir", "drawn")
    run(*words, "--num_imgs", "4", "--output_dir", "drawn")
    run(*words, "--num_imgs", "4", "--output_dir", "whole")
    assert lasting("drawn") == lasting("whole")


def test_overwrite_starts_anew_and_another_flag_is_refused(here):
    assert "margin" in refusal_of("blobex_inv_cf", *WORDS, "--margin", "2")
    assert "bs" in refusal_of("blobex_inv_cf", *WORDS, "--bs", "5")
    run("--bs", "5", "--overwrite")
    assert not (here / "out" / "metadata_1.pt").exists()
    assert len(metadata(0)["image_names"]) == 5


@pytest.mark.long
def test_two_processes_give_the_bytes_of_one(here):
    ended = torchrun_tool(2, "blobex_inv_cf", *WORDS, "--output_dir", "two", "--quiet")
    assert ended.status == 0, ended.err
    assert lasting("two") == lasting("out")


def test_T30_a_sweep_grows_with_the_number_of_its_images(here):
    words = ("sweep", *WORDS, "--target_attributes", "0", "--learning_rate_cf", "0.5", "--n_iters_cf", "2",
             "--lambda_prox_cf", "0", "--output_dir", "swept", "--max_images")
    for count in (1, 2):
        results_of("blobex_inv_cf", *words, count)
        assert len(lines("swept/run_0.5_2_0")) == count


@pytest.mark.long
def test_a_sweep_tries_all_combinations_and_puts_the_recommended_one_first(here):
    words = ("sweep", *WORDS, "--max_images", "2", "--target_attributes", "0", "1", "--learning_rate_cf", "0.001",
             "0.5", "--n_iters_cf", "3", "30", "--lambda_prox_cf", "0", "--output_dir", "swept")
    results = results_of("blobex_inv_cf", *words)
    first, best = results["runs"][0], max(row["success"] for row in results["runs"])
    names = ("learning_rate_cf", "n_iters_cf", "lambda_prox_cf")
    assert results["recommended"] == {name: first[name] for name in names}
    assert len(results["runs"]) == 4
    assert first["success"] == best == 1.0
    assert first["l1"] == min(row["l1"] for row in results["runs"] if row["success"] == best)
    assert {row["success"] for row in results["runs"] if row["learning_rate_cf"] == 0.001} == {0.0}
    first = metadata(0, "swept/inversion")["blob_optim"]["features"]
    for name in ("run_0.001_3_0", "run_0.5_30_0"):
        assert torch.equal(metadata(0, f"swept/{name}")["blob_optim"]["features"], first)
    table = (here / "swept" / "table.md").read_text()
    assert table.splitlines()[2].startswith("| recommended | 0.5 | ")
    with Image.open("swept/sweep.png") as image:
        image.load()
    before = contents("swept/run_0.5_30_0")
    shutil.rmtree("swept/run_0.001_3_0")
    (here / "swept" / "table.csv").unlink()
    assert results_of("blobex_inv_cf", *words) == results
    assert contents("swept/run_0.5_30_0") == before
    ended = call_tool("blobex_inv_cf", *words)
    assert "Counterfactuals" not in ended.err  # one table alone
    assert "Combinations" in ended.err
    Path("val/00.png").write_bytes(Path("val/02.png").read_bytes())
    assert call_tool("blobex_inv_cf", *words).status == 2


def test_numbered_blobs_are_drawn_and_listed(here):
    results = results_of("blobex_inv_cf", "blobs", "out/all_inversions.pt", "--blobgan_weights", "gan.ckpt",
                         "--output_dir", "numbered", "--max_images", "2", "--size_threshold", "-50", "--device", "cpu")
    assert results == {"images": 2, "blobs": 6}
    assert sorted(path.name for path in (here / "numbered").glob("*.png")) == ["00.png", "01.png"]
    with Image.open("numbered/00.png") as image:
        assert image.size == (512, 256)
    rows = (here / "numbered" / "blobs.csv").read_text().splitlines()
    assert rows[0] == "image,blob,x,y,size,share_of_picture"
    assert [line.split(",")[:2] for line in rows[1:4]] == [["00.png", str(blob)] for blob in range(3)]
    line = refusal_of("blobex_inv_cf", "blobs", "gan.ckpt", "--blobgan_weights", "gan.ckpt", "--output_dir", "no",
                      "--device", "cpu")
    assert "no inversions in it" in line


def test_T32_outcomes_hardly_depend_on_the_batch(here):
    run("--bs", "1", "--output_dir", "single")
    same = [(one["outcome"], one["image"], one["attribute"]) == (two["outcome"], two["image"], two["attribute"])
            and abs(int(one["evaluations"]) - int(two["evaluations"])) <= 2
            for one, two in zip(sorted(lines(), key=key), sorted(lines("single"), key=key), strict=True)]
    assert sum(same) >= 0.95 * len(same)


def key(row):
    return row["image"], row["attribute"]
