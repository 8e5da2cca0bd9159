"""blobex_inv_cf from the command line: what it writes, and what each flag does to it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from common.blobs.changes import changed_blobs
from common.datasets.prepared import open_prepared, to_network
from common.images.squash import for_network
from common.networks.blobgan.encoder_files import read_encoder, write_encoder
from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.layout import Blobs
from tests.tools.blobex_inv_cf.runs import NAMES, SIDE, WORDS, explained, lines, metadata, write_decision
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.train_encoder.runs import CONFIG

K, L = CONFIG.n_features, 3
SHAPES = {"xs": (K,), "ys": (K,), "sizes": (K + 1,), "covs": (K, 4), "features": (K + 1, CONFIG.feature_dim),
          "spatial_style": (K + 1, CONFIG.dim)}


def run(*words):
    return results_of("blobex_inv_cf", *WORDS, *words)


def start_of(number=0, folder="out"):
    return Blobs(**metadata(number, folder)["blob_optim"])


def found_of(attribute, number=0, folder="out"):
    return Blobs(**metadata(number, folder)[f"att_{attribute}"]["blob_cf"])


def snapshot(number=0, folder="out"):
    """Return (rows, columns) of a snapshot."""
    with Image.open(f"{folder}/snapshot_{number}.jpg") as image:
        image.load()
        width, height = image.size
    assert (width - 2) % (SIDE + 2) == (height - 2) % (SIDE + 2) == 0
    return (height - 2) // (SIDE + 2), (width - 2) // (SIDE + 2)


@pytest.mark.parametrize(("number", "count"), [(0, 3), (1, 2)])
def test_metadata_have_the_published_layout_and_one_key_more(number, count, here):
    value = metadata(number)
    assert [*value] == ["image_names", "blob_optim", "lpips", "init_scores", *(f"att_{each}" for each in range(4)),
                        "genprobe"]
    assert value["image_names"] == [f"{each:02d}.png" for each in range(5)][3 * number :][:3]
    for group in [value["blob_optim"], *(value[f"att_{each}"]["blob_cf"] for each in range(4))]:
        assert {name: (tuple(part.shape), part.dtype, part.device.type) for name, part in group.items()} \
            == {name: ((count, *shape), torch.float32, "cpu") for name, shape in SHAPES.items()}
    for each in range(4):
        assert [*value[f"att_{each}"]] == ["final_scores", "blob_cf", "lpips"]
    scores = [value["init_scores"], *(value[f"att_{each}"]["final_scores"] for each in range(4))]
    assert {(tuple(part.shape), part.dtype) for part in scores} == {((count, 4), torch.float32)}
    distances = [value["lpips"], *(value[f"att_{each}"]["lpips"] for each in range(4))]
    assert {(tuple(part.shape), part.dtype) for part in distances} == {((count,), torch.float32)}


def test_scores_are_those_of_the_stored_blobs_rendered_with_the_fixed_noise(here):
    gan, value = read_blobgan("gan.ckpt"), metadata()
    with torch.no_grad():
        assert torch.allclose(explained(gan.render(start_of())).sigmoid(), value["init_scores"], atol=1e-5)
        for each in range(4):
            got = explained(gan.render(found_of(each))).sigmoid()
            assert torch.allclose(got, value[f"att_{each}"]["final_scores"], atol=1e-5)
            dense = Blobs(**value["genprobe"]["attributes"][each]["blob_cf"])
            assert (changed_blobs(found_of(each), start_of()) <= changed_blobs(dense, start_of())).all()


def test_T35_snapshots_show_what_the_stored_blobs_give(here):
    gan = read_blobgan("gan.ckpt")
    with torch.no_grad():
        pictures = torch.cat([gan.render(start_of()), *(gan.render(found_of(each)) for each in range(4))])
    expected = ((pictures.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    shown = np.asarray(Image.open("out/snapshot_0.jpg"), np.float64)
    for place, picture in enumerate(expected):
        row, column = 2 + place // 3, place % 3
        own = shown[2 + row * (SIDE + 2) :, 2 + column * (SIDE + 2) :][:SIDE, :SIDE]
        assert abs(own.mean() - picture.mean()) < 3  # JPEG
        assert abs(own - picture).mean() < 20


def test_T30_a_snapshot_has_a_column_for_each_image_the_last_batch_too(here):
    assert [snapshot(number) for number in (0, 1)] == [(7, 3), (7, 2)]  # real, enc, reconstr, CF_0 to CF_3
    run("--noreal_images", "--num_imgs", "4", "--output_dir", "drawn")
    assert [snapshot(number, "drawn") for number in (0, 1)] == [(5, 3), (5, 1)]  # query, CF_0 to CF_3
    run("--load_inversion", "--inversions_path", "out/all_inversions.pt", "--output_dir", "again", "--max_images", "2")
    assert snapshot(0, "again") == (6, 2)  # real, reconstr, CF_0 to CF_3


def test_a_line_for_each_image_and_attribute_says_what_the_model_says(here):
    rows, batches = lines(), [metadata(number) for number in (0, 1)]
    assert [(row["image"], row["attribute"]) for row in rows if row["attribute"] == "0"] \
        == [(f"{each:02d}.png", "0") for each in range(5)]
    assert sorted(int(row["attribute"]) for row in rows) == sorted([0, 1, 2, 3] * 5)
    names = [name for batch in batches for name in batch["image_names"]]
    for row in rows:
        batch, place = batches[names.index(row["image"]) // 3], names.index(row["image"]) % 3
        attribute = int(row["attribute"])
        begin, end = batch["init_scores"][place, attribute], batch[f"att_{attribute}"]["final_scores"][place, attribute]
        assert row["name"] == NAMES[attribute]
        assert (row["start"], row["end"]) == (str(int(begin > 0.5)), str(int(end > 0.5)))
        assert row["target"] == str(1 - int(row["start"]))
        assert float(row["start_score"]) == pytest.approx(float(begin), abs=1e-6)
        assert float(row["score"]) == pytest.approx(float(end), abs=1e-6)
        assert row["outcome"] == ("flipped" if row["end"] == row["target"] else "not_found")
        assert float(row["logit"]) >= 0.5  # --sparse_margin
        assert int(row["blobs_changed"]) <= int(row["dense_blobs_changed"])


def test_generated_images_have_no_names_and_each_is_drawn_from_its_number(here):
    run("--noreal_images", "--num_imgs", "4", "--output_dir", "drawn")
    value = metadata(0, "drawn")
    assert "image_names" not in value
    assert "lpips" not in value
    assert not (here / "drawn" / "all_inversions.pt").exists()
    gan = read_blobgan("gan.ckpt")
    run("--noreal_images", "--num_imgs", "1", "--output_dir", "one")
    assert torch.allclose(start_of(0, "one").xs, start_of(0, "drawn").xs[:1], atol=1e-5)
    run("--noreal_images", "--num_imgs", "3", "--truncation", "1", "--output_dir", "mean")
    mean = gan.layout_net.decode(gan.mean_latent()[None])
    assert torch.allclose(start_of(0, "mean").features, mean.features.detach().expand(3, -1, -1), atol=1e-5)
    assert not torch.allclose(start_of(0, "drawn").features, mean.features.detach().expand(3, -1, -1), atol=1e-2)


def test_generated_images_are_those_of_generate_blobgan(here):
    run("--noreal_images", "--num_imgs", "4", "--seed", "5", "--output_dir", "drawn")
    results_of("generate_blobgan", "gan.ckpt", "-n", "4", "-t", "0.3", "--seed", "5", "--save_dir", "made", "--device",
               "cpu")
    for number, (batch, row) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0)]):
        with np.load(f"made/layouts/{number:04d}.npz") as stored:
            for name, part in start_of(batch, "drawn")._asdict().items():
                np.testing.assert_allclose(stored[name].reshape(part[row].shape), part[row], atol=1e-5)


def test_given_inversions_lead_to_the_same_searches(here):
    run("--load_inversion", "--inversions_path", "out/all_inversions.pt", "--output_dir", "again")
    for number in (0, 1):
        for attribute in range(4):
            for one, two in zip(found_of(attribute, number), found_of(attribute, number, "again")):
                assert torch.equal(one, two)
    stored = torch.load("out/all_inversions.pt", weights_only=True)
    assert [*stored] == [f"{each:02d}.png" for each in range(5)]
    assert {name: tuple(part.shape) for name, part in stored["01.png"].items()} \
        == {name: (1, *shape) for name, shape in SHAPES.items()}


def old_file(path, latent=True):
    """Write the first batch as the original writes a batch of one image: latent_enc, lpips without an axis."""
    value = metadata()
    first = {name: part[:1] for name, part in value["blob_optim"].items()}
    old = {"image_names": ("00.png",), "blob_optim": first, "lpips": value["lpips"][0],
           "init_scores": value["init_scores"][:1]}
    old |= {"latent_enc": torch.zeros(1, 7)} if latent else {}
    for each in range(4):
        entry = value[f"att_{each}"]
        old[f"att_{each}"] = {"final_scores": entry["final_scores"][:1], "lpips": entry["lpips"][0],
                              "blob_cf": {name: part[:1] for name, part in entry["blob_cf"].items()}}
    torch.save(old, path)


@pytest.mark.parametrize("latent", [True, False])
def test_an_old_metadata_file_is_read_as_inversions(latent, here):
    old_file("old.pt", latent)
    run("--load_inversion", "--inversions_path", "old.pt", "--max_images", "1", "--output_dir", "again")
    assert torch.equal(start_of(0, "again").features, start_of().features[:1])


def test_what_has_no_inversion_is_named_before_anything_is_written(here):
    old_file("old.pt")
    line = refusal_of("blobex_inv_cf", *WORDS, "--load_inversion", "--inversions_path", "old.pt", "--output_dir", "no")
    assert "no inversion of '01.png' and of 3 others" in line
    assert not (here / "no").exists()


@pytest.mark.parametrize(("words", "said"), [
    (("--inversions_path", "out/all_inversions.pt"), "--load_inversion alone"),
    (("--load_inversion",), "--inversions_path"),
    (("--noreal_images", "--search_on", "real"), "no real ones"),
    (("--gate", "off"), "acts on --num_diverse"), (("--diversity", "restarts"), "acts on --num_diverse"),
    (("--num_diverse", "2", "--diversity", "restarts", "--gate", "off"), "without --diversity restarts"),
    (("--search_anyway",), "acts on --target"), (("--segmentation_range", "unit"), "acts on --segmentation_weights"),
    (("--range", "unit"), "size and range are its own"), (("--threshold", "0.3"), "acts on the objectives share"),
    (("--target_blob", "0", "--target_region", "0", "0", "1", "1"), "as --target_region does"),
    (("--target_region", "0.5", "0", "0.5", "1"), "x0 < x1"),
    (("--target_blob", "3"), "blobs 0 to 2"), (("--target", "Forward=2"), "NAME=0"), (("--target", "Up=1"), "'Up'"),
    (("--target", "Stop=1", "Stop=0"), "named twice"), (("--joint",), "at least two"),
    (("--target", "runner-up"), "two or more classes"), (("--target_attributes", "7"), "'7'"),
    (("--target_classes", "road"), "belong together"), (("--lr_ratio", "xs"), "TENSOR=NUMBER"),
    (("--lambda_prox", "zs=1"), "TENSOR=NUMBER"), (("--dataset_path", "none"), "none"),
    (("--objective", "class:1"), "attribute:NAME"), (("--perceptual", "none.tar"), "none.tar"),
])
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(words, said, here):
    assert said in refusal_of("blobex_inv_cf", *WORDS, *words, "--output_dir", "no")
    assert not (here / "no").exists()


def test_a_missing_perceptual_network_is_named_with_its_address(here):
    place = WORDS.index("--perceptual")
    words = [*WORDS[:place], *WORDS[place + 2 :]]
    assert "vgg16-397923af.pth" in refusal_of("blobex_inv_cf", *words, "--output_dir", "no")


def test_T26_what_is_already_as_wanted_is_listed_and_searched_only_when_asked(here):
    results = run("--target", "Forward=1", "Stop=0", "--output_dir", "wanted")
    rows = lines("wanted")
    assert {row["name"]: row["target"] for row in rows} == {"Forward": "1", "Stop": "0"}
    for row in rows:
        assert row["outcome"] == ("already" if row["start"] == row["target"] else "flipped")
        assert (row["evaluations"] == "0") == (row["outcome"] == "already")
    already = sum(row["outcome"] == "already" for row in rows)
    assert (results["already"], results["flipped"]) == (already, 10 - already)
    assert 0 < already < 10
    assert results["success"] == 1.0  # of those that were searched
    batch = metadata(0, "wanted")
    assert {key for key in batch if key.startswith("att_")} == {"att_0", "att_1"}
    there = [row for row in rows if row["outcome"] == "already" and row["image"] in batch["image_names"]][0]
    place = batch["image_names"].index(there["image"])
    found = found_of(int(there["attribute"]), 0, "wanted")
    assert all(torch.equal(one[place], two[place]) for one, two in zip(found, start_of(0, "wanted")))
    run("--target", "Forward=1", "Stop=0", "--search_anyway", "--output_dir", "anyway")
    assert all(int(row["evaluations"]) > 0 for row in lines("anyway"))


def test_T27_what_is_not_found_is_listed_with_its_best_attempt(here):
    results = run("--n_iters_cf", "1", "--learning_rate_cf", "0.001", "--output_dir", "short")
    assert results["not_found"] == 20
    assert results["success"] == 0.0
    for row in lines("short"):
        assert row["outcome"] == "not_found"
        assert (row["evaluations"], row["end"]) == ("2", row["start"])
        assert float(row["logit"]) >= float(row["start_logit"])


def test_T28_start_target_and_end_of_mixed_targets_come_from_the_model(here):
    run("--target", "Forward=0", "Left=1", "--output_dir", "mixed")
    for row in lines("mixed"):
        assert row["target"] == {"Forward": "0", "Left": "1"}[row["name"]]
        batch = metadata(0 if int(row["image"][:2]) < 3 else 1, "mixed")
        place = batch["image_names"].index(row["image"])
        attribute = int(row["attribute"])
        assert row["start"] == str(int(batch["init_scores"][place, attribute] > 0.5))
        assert row["end"] == str(int(batch[f"att_{attribute}"]["final_scores"][place, attribute] > 0.5))


def test_joint_decisions_are_reached_together_in_one_counterfactual(here):
    run("--target", "Forward=0", "Stop=1", "--joint", "--output_dir", "joint")
    rows = lines("joint")
    assert [row["name"] for row in rows] == ["Forward=0 Stop=1"] * 5
    for number in (0, 1):
        scores = metadata(number, "joint")["att_0"]["final_scores"]
        done = [row["outcome"] in ("flipped", "already") for row in rows][3 * number :][:3]
        assert ((scores[:, 0] < 0.5) & (scores[:, 1] > 0.5)).tolist() == done
    assert any(row["outcome"] == "flipped" for row in rows)


def test_chosen_attributes_by_name_and_number(here):
    run("--target_attributes", "Left", "1", "--output_dir", "chosen")
    assert {row["name"] for row in lines("chosen")} == {"Left", "Stop"}
    assert metadata(0, "chosen")["init_scores"].shape == (3, 4)


def test_of_many_classes_the_runner_up_is_wanted_or_one_by_number(here):
    write_decision("classes.tar", read_blobgan("gan.ckpt"), seed=3, names=("cat", "dog", "cow"), kind="classes")
    words = ("--decision_model_weights", "classes.tar", "--n_iters_cf", "80")
    assert run(*words, "--output_dir", "classes")["pairs"] == 5
    for row in lines("classes"):
        scores = metadata(0 if int(row["image"][:2]) < 3 else 1, "classes")["init_scores"][int(row["image"][:2]) % 3]
        assert int(row["attribute"]) == int(scores.topk(2).indices[1])
    run(*words, "--target", "class=2", "--output_dir", "cow")
    assert {(row["name"], row["target"]) for row in lines("cow")} == {("cow", "1")}


def test_only_the_chosen_blobs_and_tensors_change(here):
    run("--target_blob", "2", "0", "--target_features", "xs", "features", "sizes", "--sparse", "off", "--n_iters_cf",
        "8", "--output_dir", "blobs")
    for number in (0, 1):
        start = start_of(number, "blobs")
        for attribute in range(4):
            found = found_of(attribute, number, "blobs")
            assert torch.equal(found.spatial_style, start.spatial_style)
            assert torch.equal(found.xs[:, 1], start.xs[:, 1])
            assert torch.equal(found.features[:, [0, 2]], start.features[:, [0, 2]])
            assert not torch.equal(found.features[:, [1, 3]], start.features[:, [1, 3]])


@pytest.mark.parametrize("more", [(), ("--num_diverse", "2")])
def test_blobs_of_a_region_alone_change_and_where_none_lies_nothing_is_searched(more, here):
    more = (*more, "--target_attributes", "0", "1", "--max_images", "3", "--n_iters_cf", "15")
    run("--target_region", "0", "0", "0.5", "1", *more, "--output_dir", "region")
    gan = read_blobgan("gan.ckpt")
    shares = gan.generator.splat(start_of(0, "region")).pyramid[gan.generator.size][:, 1:]
    left = shares[..., : shares.shape[-1] // 2].sum(dim=(2, 3)) > 0.1 * shares.sum(dim=(2, 3))
    for attribute in range(2):
        found = found_of(attribute, 0, "region")
        parts = [found] if found.xs.dim() == 2 else [Blobs(*(part[number] for part in found)) for number in range(2)]
        for part in parts:
            changed = changed_blobs(part, start_of(0, "region"))
            assert not changed[:, 0].any()
            assert (changed[:, 1:] <= left).all()
    run("--target_region", "0.999", "0.999", "1", "1", *more, "--output_dir", "nowhere")
    assert {(row["outcome"], row["evaluations"]) for row in lines("nowhere")} == {("not_found", "0")}


class Halves(torch.nn.Module):
    """A segmentation: class 1 in the left half of a picture, 0 elsewhere; a little of the picture in both."""

    def forward(self, x):
        side = x.shape[3] // 2
        mean = x.mean(dim=1, keepdim=True) * 0.01
        left = torch.ones_like(mean)
        left[..., side:] = -1.0
        return torch.cat([mean, left + mean * 2.0], dim=1)


def test_blobs_of_a_segmentations_classes_are_those_of_the_region_that_they_cover(here):
    torch.jit.save(torch.jit.script(Halves()), "halves.pt")
    words = ("--target_attributes", "0", "--max_images", "3")
    run("--target_region", "0", "0", "0.5", "1", *words, "--output_dir", "region")
    run("--target_classes", "1", "--segmentation_weights", "halves.pt", *words, "--output_dir", "classes")
    for one, two in zip(found_of(0, 0, "region"), found_of(0, 0, "classes")):
        assert torch.equal(one, two)


def test_a_search_on_the_real_picture_decides_on_real_plus_change(here):
    run("--search_on", "real", "--n_iters_cf", "60", "--target_attributes", "0", "--max_images", "3", "--output_dir",
        "real")
    gan, value = read_blobgan("gan.ckpt"), metadata(0, "real")
    real = to_network(open_prepared("val", "train", for_network(SIDE, 1)).read([0, 1, 2])[0])
    with torch.no_grad():
        changed = (real + gan.render(found_of(0, 0, "real")) - gan.render(start_of(0, "real"))).clamp(-1, 1)
        reconstructed = explained(gan.render(start_of(0, "real"))).sigmoid()
    assert torch.allclose(explained(real).sigmoid(), value["init_scores"], atol=1e-5)
    assert torch.allclose(explained(changed).sigmoid(), value["att_0"]["final_scores"], atol=1e-5)
    assert not torch.allclose(reconstructed, value["init_scores"], atol=1e-2)
    assert value["genprobe"]["search_on"] == "real"
    rows = lines("real")
    assert [row["flip_on_real"] for row in rows] == [str(int(row["outcome"] == "flipped")) for row in rows]
    assert [row["score"] for row in rows] == [row["score_on_real"] for row in rows]


@pytest.mark.long
def test_sparse_modes_change_fewer_blobs_and_less_of_them(here):
    totals = {}
    for mode in ("off", "blobs", "tensors"):
        run("--sparse", mode, "--max_images", "3", "--output_dir", mode)
        changed = [int((one != two).flatten(1).any(dim=1).sum()) for attribute in range(4)
                   for one, two in zip(found_of(attribute, 0, mode), start_of(0, mode))]
        totals[mode] = sum(changed), sum(int(row["blobs_changed"]) for row in lines(mode))
        assert ("blob_cf" in metadata(0, mode)["genprobe"]["attributes"][0]) == (mode != "off")
    assert totals["tensors"][0] < totals["blobs"][0] < totals["off"][0]
    assert totals["blobs"][1] < totals["off"][1]


@pytest.mark.parametrize("count", [2, 5])
def test_T30_several_at_once_have_the_published_list_index_in_front(count, here):
    run("--num_diverse", count, "--n_iters_cf", "12", "--max_images", "4", "--target_attributes", "1", "2",
        "--output_dir", "several")
    for number, images in ((0, 3), (1, 1)):
        entry = metadata(number, "several")["att_1"]
        assert [*entry] == ["final_scores", "blob_cf", "lpips", "assignment"]
        assert entry["final_scores"].shape == (count, images, 4)
        assert {name: tuple(part.shape) for name, part in entry["blob_cf"].items()} \
            == {name: (count, images, *shape) for name, shape in SHAPES.items()}
        assert entry["lpips"].shape == (count, images)
        assert entry["assignment"].shape == (count, images, K + 1)
        assert torch.allclose(entry["assignment"].sum(dim=0), torch.ones(images, K + 1), atol=1e-5)
        assert snapshot(number, "several") == (3 + 2 * count, images)
    rows = lines("several")
    assert len(rows) == 4 * 2 * count
    assert {row["number"] for row in rows} == {str(number) for number in range(count)}
    gan = read_blobgan("gan.ckpt")
    blobs = Blobs(**{name: part[1] for name, part in metadata(0, "several")["att_1"]["blob_cf"].items()})
    with torch.no_grad():
        got = explained(gan.render(blobs)).sigmoid()
    assert torch.allclose(got, metadata(0, "several")["att_1"]["final_scores"][1], atol=1e-5)


def test_several_without_the_gate_have_no_assignment_and_can_be_made_sparse(here):
    words = ("--num_diverse", "2", "--n_iters_cf", "15", "--max_images", "2", "--target_attributes", "0", "1")
    run(*words, "--gate", "off", "--output_dir", "open")
    assert "assignment" not in metadata(0, "open")["att_0"]
    run(*words, "--diversity", "restarts", "--output_dir", "restarts")
    assert "assignment" not in metadata(0, "restarts")["att_0"]
    run(*words, "--sparse", "blobs", "--output_dir", "sparse")
    run(*words, "--output_dir", "dense")
    changed = [sum(int(row["blobs_changed"]) for row in lines(name)) for name in ("sparse", "dense")]
    assert changed[0] < changed[1]


def test_one_at_once_is_the_plain_search(here):
    run("--num_diverse", "1", "--output_dir", "one")
    for one, two in zip(found_of(2), found_of(2, 0, "one")):
        assert torch.equal(one, two)


class Program(torch.nn.Module):
    """Two numbers of a picture: how bright its left and its right half are."""

    def forward(self, x):
        side = x.shape[3] // 2
        return 8.0 * torch.stack([x[..., :side].mean(dim=(1, 2, 3)), x[..., side:].mean(dim=(1, 2, 3))], dim=1)


def test_a_torchscript_program_is_explained_by_its_objectives(here):
    torch.jit.save(torch.jit.script(Program()), "program.pt")
    words = ("--decision_model_weights", "program.pt", "--class_names", "left", "right")
    run(*words, "--lambda_inv_decision_fm", "0", "--objective", "attribute:right", "--n_iters_cf", "100",
        "--output_dir", "program")
    value, gan = metadata(0, "program"), read_blobgan("gan.ckpt")
    assert value["genprobe"]["names"] == ["attribute:right"]
    assert value["init_scores"].shape == (3, 1)
    with torch.no_grad():
        pictures = [gan.render(start_of(0, "program")), gan.render(found_of(0, 0, "program"))]
    for picture, scores in zip(pictures, (value["init_scores"], value["att_0"]["final_scores"])):
        assert torch.allclose(Program()(picture)[:, 1:].sigmoid(), scores, atol=1e-5)
    assert {row["outcome"] for row in lines("program")} == {"flipped"}


def test_the_published_preset_takes_all_steps_and_changes_styles_alone(here):
    run("--preset", "published", "--n_iters_cf", "7", "--n_iters_inv", "3", "--output_dir", "published")
    assert {row["evaluations"] for row in lines("published")} == {"8"}
    value = metadata(0, "published")
    assert value["genprobe"]["inversion"]["evaluations"] == [4, 4, 4]
    for attribute in range(4):
        found, start = found_of(attribute, 0, "published"), start_of(0, "published")
        assert not torch.equal(found.spatial_style, start.spatial_style)
        assert all(torch.equal(one, two) for one, two in zip(found[:5], start[:5]))
    options = json.loads((here / "published" / "run.json").read_text())["options"]
    assert (options["early_stop"], options["bounds"], options["sparse"]) == ("off", "off", "off")


def test_inversions_alone(here):
    results = run("--inversion_only", "--output_dir", "inverted")
    assert "pairs" not in results
    assert not (here / "inverted" / "pairs.csv").exists()
    assert [*metadata(0, "inverted")] == ["image_names", "blob_optim", "lpips", "init_scores", "genprobe"]
    assert snapshot(0, "inverted") == (3, 3)
    for one, two in zip(start_of(), start_of(0, "inverted")):
        assert torch.equal(one, two)


@pytest.mark.parametrize("init", ["mean", "best"])
def test_starts_of_an_inversion(init, here):
    words = ("--encoder_weights", "none") if init == "mean" else ()
    run("--inversion_only", "--init", init, *words, "--output_dir", init)
    first = metadata(0)["genprobe"]["inversion"]["objective"]
    own = metadata(0, init)["genprobe"]["inversion"]["objective"]
    assert len(own) == len(first) == 3
    assert snapshot(0, init)[0] == (2 if init == "mean" else 3)


def test_an_encoder_of_all_numbers_starts_inversions_as_one_of_the_latent_before_them(here):
    gan = read_blobgan("gan.ckpt")
    file, net = read_encoder("encoder.pt", gan), gan.layout_net.mlp[-1]
    raw = replace(file.config, outputs=gan.layout_net.raw_dim, mlp_idx="raw")
    weights, own = raw.build().state_dict(), file.network.state_dict()
    weights |= {name: value for name, value in own.items() if not name.startswith("final_linear.1.")}
    # What the layout network's last layer makes of the latent, as one layer.
    weights["final_linear.1.weight"] = net.weight @ own["final_linear.1.weight"] * net.scale
    weights["final_linear.1.bias"] = net(own["final_linear.1.bias"][None])[0].detach()
    write_encoder("raw.pt", raw, weights, None, None, 1)
    for name in ("encoder", "raw"):
        run("--inversion_only", "--n_iters_inv", "1", "--encoder_weights", f"{name}.pt", "--output_dir", name)
    for one, two in zip(start_of(0, "encoder"), start_of(0, "raw")):
        assert torch.allclose(one, two, atol=1e-4)


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(here):
    ended = call_tool("blobex_inv_cf", *WORDS, "--output_dir", "no", "--dry_run")
    assert ended.status == 0
    assert "would explain 4 decisions of 5 images in 2 batches into no" in ended.err
    assert not (here / "no").exists()


def test_presets_are_listed(capsys):
    from tools.__main__ import main

    main(["presets"])
    assert "blobex_inv_cf: --preset NAME" in capsys.readouterr().out


def test_names_in_subfolders_stay_apart(here):
    (here / "two" / "a").mkdir(parents=True)
    (here / "two" / "b").mkdir()
    shutil.copy("val/00.png", "two/a/x.png")
    shutil.copy("val/01.png", "two/b/x.png")
    run("--dataset_path", "two", "--output_dir", "apart")
    assert metadata(0, "apart")["image_names"] == ["a/x.png", "b/x.png"]
    assert [*torch.load("apart/all_inversions.pt", weights_only=True)] == ["a/x.png", "b/x.png"]
    results_of("blobex_inv_cf", "blobs", "apart/all_inversions.pt", "--blobgan_weights", "gan.ckpt", "--output_dir",
               "drawn", "--device", "cpu")
    assert len(list((here / "drawn").glob("*.png"))) == 2
