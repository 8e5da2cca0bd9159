"""Every command that writes a folder, with the smallest inputs that it takes, for tests of what all of them promise."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.tools.commands import call_tool
from tests.tools.train_blobgan.runs import TINY as BLOBGAN
from tests.tools.train_edm.runs import TINY as EDM
from tests.tools.train_edm.runs import write_colours

CPU = ("--device", "cpu")
SMALL = ("--extractor", "small", *CPU)
QC = ("--config", "u_digits", "--config.model.nf=4", "--config.model.attn_resolutions=99", "--bs", "4", *CPU)

RENDERED = ("--blobgan_weights", "in/made/gan.ckpt", "--decision_model_weights", "in/made/decision.tar",
            "--dataset_path", "in/made/images", *CPU)


@dataclass
class Command:
    """words: of the command, in the folder that holds `in`; all that it writes lies in `out`.

    record: the folder of its run.json.  inputs: {file whose contents count: one of equal size that can replace it}.
    """

    tool: str
    words: tuple
    record: str
    inputs: dict = field(default_factory=dict)

    def run(self, *words):
        """Run the command in the current folder and return how it Ended."""
        return call_tool(self.tool, *self.words, *words)


def bitmaps(folder, count=4, first=0, side=24):
    """Write BMPs, all of one size, and one more beside them, `spare.bin`, to replace one with."""
    folder.mkdir(parents=True)
    for number in range(count + 1):
        pixels = np.random.default_rng(first + number).integers(0, 256, (side, side, 3), np.uint8)
        place = folder / f"{number}.bmp" if number < count else folder.with_name(f"{folder.name}_spare.bin")
        Image.fromarray(pixels).save(place, "BMP")


def make_inputs(folder):
    """Write the inputs of all commands below a folder `in`; finished runs that further commands read among them."""
    from tests.tools.activation_networks import save_network
    from tests.tools.blobgan_networks import save_blobgan
    from tests.tools.process_embeddings.trees import clusters, write_tree

    place = folder / "in"
    bitmaps(place / "images")
    bitmaps(place / "real", first=10)
    bitmaps(place / "low", first=20, side=12)
    bitmaps(place / "photos", first=30, side=96)
    bitmaps(place / "halves", first=40, side=48)
    bitmaps(place / "marks", count=12, first=70)
    lines = [f"{number}.bmp,{number % 2},{number // 2 % 2}\n" for number in range(12)]
    (place / "marks" / "truth.csv").write_text("file,odd,high\n" + "".join(lines))
    for number, split in enumerate(("train", "test")):
        bitmaps(place / "digits" / split, 4, first=50 + 10 * number, side=8)
    for number in (0, 1):
        save_network(place / ("network.safetensors" if number == 0 else "network_spare.bin"), seed=number)
    write_colours(place / "colours")
    write_colours(place / "others", side=8)
    batch = dict(np.load(place / "others" / "train_data_batch_1.npz"))
    np.savez(place / "colours_spare.npz", **{**batch, "data": 255 - batch["data"]})
    os.rename(place / "colours_spare.npz", place / "colours_spare.bin")
    for seed, root in ((1, "maps"), (2, "spare_maps")):
        layers, labels, images = clusters(30, 3, seed)
        write_tree(place / root, "imagenet_real", layers, labels, ["a", "b", "c"], images, compressed=False)
    shutil.copy(place / "spare_maps/activations/imagenet_real/batch_000000.npz", place / "maps_spare.bin")
    shutil.copytree(place / "images", place / "runs")
    (place / "runs" / "table.csv").write_text("a,b\n1,2\n")
    (place / "runs_spare.bin").write_text("a,b\n1,3\n")
    for number in (0, 1):
        save_blobgan(place / ("blobgan.ckpt" if number == 0 else "blobgan_spare.bin"), seed=number)
    make_explained(place)
    make_score_model(place)
    make_interval_inputs(place)
    make_digits(place)
    make_counterfactuals(place)
    return place


def make_explained(place):
    """Write a decision model and inversions of the photos by two encoders, for counterfactuals, each with its spare."""
    import torch

    from common.blobs.metadata import write_inversions
    from common.networks.blobgan.files import read_blobgan
    from common.networks.decision import write_decision_model
    from common.networks.decision_networks import DecisionConfig, build_decision_model

    gan = read_blobgan(place / "blobgan.ckpt")
    for number in (0, 1):
        decision, inverted = (f"{name}{'_spare.bin' if number else suffix}" for name, suffix in (
            ("decision", ".tar"), ("inverted", ".pt")))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            model = build_decision_model(DecisionConfig("small", ("odd", "high"), (16, 32), width=4))
            z = torch.randn(4, 8)
        write_decision_model(place / "made.pt", model, 0, 0.0, {})
        os.rename(place / "made.pt", place / decision)
        write_inversions(place / "made.pt", [f"{each}.bmp" for each in range(4)], gan.layouts(z))
        os.rename(place / "made.pt", place / inverted)


def make_interval_inputs(place):
    """Write a StyleGAN2, a quantile encoder, outputs of two levels, and pictures with latents, each with its spare."""
    import torch

    from common.networks.quantile_encoder import QuantileEncoderConfig, build_encoder
    from common.networks.quantile_encoder_weights import save_quantile_encoder
    from common.networks.stylegan2 import StyleGAN2, StyleGAN2Config
    from common.style_space import StyleStatistics
    from tests.tools.calibrate_rcps.conftest import make_outputs

    zeros = np.zeros(40, np.float32)
    for number in (0, 1):
        stylegan, quantile, outputs = ((f"{name}{'_spare.bin' if number else suffix}") for name, suffix in (
            ("stylegan", ".pt"), ("encoder", ".pt"), ("outputs", ".npz")))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            network = StyleGAN2(StyleGAN2Config((5, 5, 5), style_dim=6, num_mapping=2))
            encoder = build_encoder(QuantileEncoderConfig(40, ((16, 1), (16, 1)), 16))
        torch.save({"g_ema": network.state_dict(), "latent_avg": torch.zeros(6)}, place / "made.pt")
        os.rename(place / "made.pt", place / stylegan)  # its name stands in the file, whose size it changes
        save_quantile_encoder(place / "made.pt", encoder,
                              StyleStatistics(zeros, zeros - 4, zeros + 4, None, 0), opts={"encoder_size": 16})
        os.rename(place / "made.pt", place / quantile)
        make_outputs(place / outputs, seed=5 * number)


def make_score_model(place):
    """Train a score model for three steps, twice, for the commands that evaluate one."""
    for seed, name in ((1, "score"), (2, "score_spare")):
        ended = call_tool("qc_ncsn", "train", *QC, "--n_iters", 3, "--seed", seed, "--log_freq", 1, "--workdir",
                          place / name, "--dataset", place / "digits", "--config.data.num_channels=3",
                          "--config.sampling.num_scales=2", "--config.model.num_scales=2", "--quiet")
        assert ended.status == 0, ended.err
    state = place / "score_spare" / "checkpoints-meta" / "checkpoint.pth"
    shutil.copy(state, place / "score_spare.bin")
    shutil.copy(place / "score" / "checkpoints-meta" / "checkpoint.pth", place / "score.pth")
    shutil.rmtree(place / "score")
    shutil.rmtree(place / "score_spare")


def make_counterfactuals(place):
    """Write counterfactuals with their networks and images, and an evaluation of them, each with a spare."""
    from tests.tools.blobgan_networks import save_blobgan
    from tests.tools.evaluate_cf.made import make

    made = make(place / "made")
    os.rename(save_blobgan(place / "spare" / "gan.ckpt", seed=1), place / "made_spare.bin")
    os.rename(make(place / "spare", amount=0.6).folder / "metadata_1.pt", place / "metadata_spare.bin")
    shutil.rmtree(place / "spare")
    ended = call_tool("evaluate_cf", *made.words("--output_dir", place / "evaluated", "--quiet"))
    assert ended.status == 0, ended.err
    text = (place / "evaluated" / "pairs.csv").read_bytes()
    (place / "pairs_spare.bin").write_bytes(text.replace(b"00.png,1,", b"99.png,1,"))


def make_digits(place):
    """Write a generator and images of it with their latents."""
    from tests.tools.interval_networks import save_generator

    save_generator(place / "g.pt")
    (place / "other").mkdir()  # the name of a file is in it, too
    os.rename(save_generator(place / "other" / "g.pt", seed=1), place / "g_spare.bin")
    ended = call_tool("generate_ffhq", "--stylegan_path", place / "g.pt", "--num_images", 6, "--output_base_dir",
                      place / "made", "--no_stats", *CPU, "--quiet")
    assert ended.status == 0, ended.err
    os.rename(place / "made" / "generated" / "1x", place / "faces")
    shutil.rmtree(place / "made")
    for name in os.listdir(place / "faces"):
        if name.endswith(".png"):  # all of one size, as those that replace them
            pixels = np.asarray(Image.open(place / "faces" / name))
            os.remove(place / "faces" / name)
            Image.fromarray(pixels).save(place / "faces" / name.replace(".png", ".bmp"), "BMP")
    Image.fromarray(255 - pixels).save(place / "faces_spare.bin", "BMP")


EVALUATE = ("--workdir", "./out", "--checkpoint", "in/score.pth", *CPU)
SCORE = {"in/score.pth": "in/score_spare.bin"}
SUBIMAGES = ("--save_folder", "out", "--crop_sz", "32", "--step", "32", "--resize_final_img", "0.5", "--thres_sz", "8",
             "--min_size", "32", "--n_thread", "0")
ENCODER = ("--blobgan_weights", "in/blobgan.ckpt", "--channels", "4", "4", "4", "-bs", "2", "--n_iters", "2",
           "--val_images", "2", "--log_imgs_every", "2", "--output_dir", "out", *CPU)
EXPLAIN = ("--blobgan_weights", "in/blobgan.ckpt", "--decision_model_weights", "in/decision.tar", "--init", "mean",
           "--lambda_inv_lpips", "0", "--dataset_path", "in/photos", "--bs", "3", "--n_iters_inv", "2", "--output_dir",
           "out", *CPU)
EXPLAINED = {"in/blobgan.ckpt": "in/blobgan_spare.bin", "in/decision.tar": "in/decision_spare.bin",
             "in/photos/0.bmp": "in/photos_spare.bin"}
COMMANDS = {
    "qc_ncsn train": Command(
        "qc_ncsn", ("train", *QC, "--n_iters", "3", "--log_freq", "1", "--dataset", "in/digits", "--workdir", "./out",
                    "--config.data.num_channels=3"), "out", {"in/digits/train/0.bmp": "in/digits/train_spare.bin"}),
    "qc_ncsn sample": Command("qc_ncsn", ("sample", *EVALUATE, "--num_samples", "2", "--bs", "2"),
                              "out/eval_sampling/0", SCORE),
    "qc_ncsn eval nll": Command("qc_ncsn", ("eval", "nll", *EVALUATE, "--dataset", "in/digits", "--num_images", "2",
                                            "--total_repeat", "1", "--rtol", "0.5", "--atol", "0.5"), "out/nll",
                                {**SCORE, "in/digits/test/0.bmp": "in/digits/test_spare.bin"}),
    "qc_ncsn eval asym": Command("qc_ncsn", ("eval", "asym", *EVALUATE, "--dataset", "in/digits", "--num_images", "2",
                                             "--total_repeat", "1", "--nl", "2"), "out/asym",
                                 {**SCORE, "in/digits/test/0.bmp": "in/digits/test_spare.bin"}),
    "train_blobgan": Command(
        "train_blobgan", (*BLOBGAN, "--data", "in/digits", "--max_steps", "2", "--output_dir", "out"), "out",
        {"in/digits/train/0.bmp": "in/digits/train_spare.bin"}),
    "train_edm": Command("train_edm", (*(word.replace("colours", "in/colours").replace("24", "4") for word in EDM),
                                       "--output_dir", "out"), "out",
                         {"in/colours/train_data_batch_1.npz": "in/colours_spare.bin"}),
    "train_quantile_encoder": Command(
        "train_quantile_encoder",
        ("--generated_train_data_path", "in/faces", "--stylegan_weights", "in/g.pt", "--encoder_type", "small",
         "--resize_factors", "1", "--batch_size", "2", "--max_steps", "2", "--workers", "0", "--exp_dir", "out", *CPU),
        "out", {"in/faces/img_00001.bmp": "in/faces_spare.bin", "in/g.pt": "in/g_spare.bin"}),
    "train_decision_model": Command(
        "train_decision_model", ("--csv", "in/marks/truth.csv", "--arch", "small", "--batch_size", "4", "--steps", "3",
                                 "--num_workers", "0", "--output_dir", "out", *CPU),
        "out", {"in/marks/1.bmp": "in/marks_spare.bin"}),
    "blobex_inv_cf": Command("blobex_inv_cf", (*EXPLAIN, "--n_iters_cf", "2"), "out", EXPLAINED),
    "blobex_inv_cf blobs": Command(
        "blobex_inv_cf", ("blobs", "in/inverted.pt", "--blobgan_weights", "in/blobgan.ckpt", "--output_dir", "out",
                          *CPU), "out", {"in/blobgan.ckpt": "in/blobgan_spare.bin",
                                         "in/inverted.pt": "in/inverted_spare.bin"}),
    "blobex_inv_cf sweep": Command(
        "blobex_inv_cf", ("sweep", *EXPLAIN, "--max_images", "1", "--learning_rate_cf", "0.1", "--n_iters_cf", "1", "2",
                          "--lambda_prox_cf", "0"), "out", EXPLAINED),
    "setup_fid": Command("setup_fid", ("--action", "compute_new", "--path", "in/real", "--name", "mine", "--stats_dir",
                                       "out", *SMALL), "out/mine_clean_small-features-v1_custom_na",
                         {"in/real/0.bmp": "in/real_spare.bin"}),
    "compute_fid": Command("compute_fid", ("clean", "in/images", "--reference", "in/real", "--metrics", "fid,kid",
                                           "--output_dir", "out", *SMALL), "out",
                           {"in/images/0.bmp": "in/images_spare.bin", "in/real/1.bmp": "in/real_spare.bin"}),
    "compute_fid pairs": Command("compute_fid", ("pairs", "in/images", "in/real", "--output_dir", "out", *CPU), "out",
                                 {"in/images/0.bmp": "in/images_spare.bin", "in/real/1.bmp": "in/real_spare.bin"}),
    "extract_subimages": Command("extract_subimages", ("--input_folder", "in/photos", *SUBIMAGES), "out",
                                 {"in/photos/0.bmp": "in/photos_spare.bin"}),
    "extract_subimages packed": Command(
        "extract_subimages", ("--input_folder", "in/photos", *SUBIMAGES, "--layout", "packed"), "out",
        {"in/photos/0.bmp": "in/photos_spare.bin"}),
    "extract_subimages pair": Command(
        "extract_subimages", ("--mode", "pair", "--input_folder", "in/photos", "--pair_folder", "in/halves",
                              "--pair_scale", "2", *SUBIMAGES, "--resize_final_img", "1"), "out",
        {"in/photos/1.bmp": "in/photos_spare.bin", "in/halves/0.bmp": "in/halves_spare.bin"}),
    "extract_real_imagenet": Command(
        "extract_real_imagenet", ("--checkpoint_path", "in/network.safetensors", "--npz_dir", "in/colours",
                                  "--class_map", "none", "--num_samples", "6", "--output_dir", "out", *CPU),
        "out/metadata/imagenet_real", {"in/network.safetensors": "in/network_spare.bin",
                                       "in/colours/train_data_batch_1.npz": "in/colours_spare.bin"}),
    "generate_dataset": Command(
        "generate_dataset", ("--model", "imagenet", "--checkpoint_path", "in/network.safetensors", "--num_samples", "3",
                             "--output_dir", "out", *CPU), "out/metadata/imagenet",
        {"in/network.safetensors": "in/network_spare.bin"}),
    "process_embeddings": Command(
        "process_embeddings", ("--model", "imagenet_real", "--data_dir", "in/maps", "--output_dir", "out"),
        "out/imagenet_real_umap_n15_d0.1", {"in/maps/activations/imagenet_real/batch_000000.npz": "in/maps_spare.bin"}),
    "train_encoder pretrain": Command(
        "train_encoder", ("pretrain", *ENCODER), "out", {"in/blobgan.ckpt": "in/blobgan_spare.bin"}),
    "train_encoder train": Command(
        "train_encoder", ("train", *ENCODER, "--dataset_path", "in/photos", "--preset", "rect_no_decision",
                          "--real_lpips", "0", "--fake_lpips", "0", "--decision_weights", "none", "--start_weights",
                          "none"), "out",
        {"in/blobgan.ckpt": "in/blobgan_spare.bin", "in/photos/0.bmp": "in/photos_spare.bin"}),
    "evaluate_cf": Command(
        "evaluate_cf", ("in/made/cf", *RENDERED, "--output_dir", "out"), "out",
        {"in/made/gan.ckpt": "in/made_spare.bin", "in/made/cf/metadata_1.pt": "in/metadata_spare.bin"}),
    "evaluate_cf inversion": Command(
        "evaluate_cf", ("inversion", "--inv_path", "in/made/cf/all_inversions.pt", *RENDERED, "--output_dir", "out"),
        "out", {"in/made/gan.ckpt": "in/made_spare.bin"}),
    "evaluate_cf compare": Command(
        "evaluate_cf", ("compare", "in/evaluated", "in/evaluated", "--output_dir", "out"), "out",
        {"in/evaluated/pairs.csv": "in/pairs_spare.bin"}),
    "generate_blobgan": Command(
        "generate_blobgan", ("in/blobgan.ckpt", "-n", "3", "--save_blobs", "-s", "out", *CPU), "out",
        {"in/blobgan.ckpt": "in/blobgan_spare.bin"}),
    "generate_ffhq": Command(
        "generate_ffhq", ("--stylegan_path", "in/stylegan.pt", "--num_images", "3", "--output_base_dir", "out", *CPU),
        "out/generated", {"in/stylegan.pt": "in/stylegan_spare.bin"}),
    "generate_outputs_npz": Command(
        "generate_outputs_npz", ("--base_dir", "in", "--exp_name", ".", "--model_name", "encoder.pt", "--image_dir",
                                 "in/photos", "--resize_factor", "1", "--output_path", "out/values.npz", *CPU),
        "out/values_record", {"in/encoder.pt": "in/encoder_spare.bin", "in/photos/0.bmp": "in/photos_spare.bin"}),
    "calibrate_rcps": Command(
        "calibrate_rcps", ("--outputs", "one=in/outputs.npz", "--dims", "all", "--total_runs", "2", "--output_dir",
                           "out"), "out", {"in/outputs.npz": "in/outputs_spare.bin"}),
    "report": Command("report", ("in/runs", "--output", "out/report.html"), "out",
                      {"in/runs/table.csv": "in/runs_spare.bin"}),
}


def contents(folder):
    """Return {path below: bytes} of all files in a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(Path(folder).rglob("*"))
            if path.is_file()}
