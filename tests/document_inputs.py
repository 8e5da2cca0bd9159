"""Small stand-ins under the names that the pages use, and the words that make a page's commands small."""

import shutil
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tests.tools.train_edm.runs import NETWORK

CPU = ("--device", "cpu")
SMALL = ("--extractor", "small", *CPU)
GAN = "checkpoints/blobgan_256x512.ckpt"


@dataclass
class Page:
    """prepare(folder, made): writes what the commands read; made: the inputs of tests/tools/every_command.py.

    words: {number of the command on the page: words added to it}.  skipped: {number: why it is not executed}.
    """

    prepare: object
    words: dict = field(default_factory=dict)
    skipped: dict = field(default_factory=dict)


def _photos(folder, count=2, side=300):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side * 3 // 2, 3), np.uint8)
        Image.fromarray(pixels).resize((side * 3, side * 2)).save(folder / f"{number}.jpg", quality=90)


def _copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


def _classes(made, target):
    for number, name in enumerate(("a", "a", "b", "b")):
        _copy(made / "images" / f"{number}.bmp", target / name / f"{number}.bmp")


def _activations(here, made):
    for name in ("dmd2/pytorch_model.bin", "model.safetensors", "out/train_edm/network.safetensors"):
        _copy(made / "network.safetensors", here / name)
    for name in ("Imagenet64_train_npz", "npz"):
        _copy(made / "colours", here / name)


def _calibrate(here, made):
    from common.paths import ExperimentDir
    from tests.tools.calibrate_rcps.conftest import make_outputs

    for factor in (1, 16, 32):
        make_outputs(ExperimentDir(here / "assets", "super_resolution").outputs(factor), resize_factor=factor)
    for name in ("easy", "hard", "photos"):
        make_outputs(here / f"{name}.npz")


def _fid(here, made):
    from tests.tools.commands import call_tool

    _copy(made / "blobgan.ckpt", here / GAN)
    _copy(made / "real", here / "originals")
    _copy(made / "images", here / "restored")
    for name in ("generated", "real"):
        _classes(made, here / name)
    ended = call_tool("setup_fid", "--action", "compute_new", "--path", made / "real", "--name", "bdd_rect_256", *SMALL)
    assert ended.status == 0, ended.err
    np.savez(here / "samples.npz", np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8))
    shutil.copy(here / "samples.npz", here / "VIRTUAL_imagenet256_labeled.npz")


def _statistics(here, made):
    _copy(made / "real", here / "images")
    _copy(made / "images", here / "generated")


def _faces(here, made):
    _copy(made / "g.pt", here / "g.pt")
    _copy(made / "g.pt", here / "stylegan2-ffhq-config-f.pt")


def _encode(here, made):
    from tests.tools.interval_networks import save_encoder

    save_encoder(here / "assets/super_resolution/models/superres_alpha_0.1.pt")
    for name in ("assets/data/generated/1x", "photographs", "IMAGES"):
        _copy(made / "faces", here / name)


def _maps(here, made):
    for name in ("data", "made"):
        _copy(made / "maps", here / name)
    shutil.copytree(made / "maps" / "activations" / "imagenet_real", here / "data" / "activations" / "imagenet")
    shutil.copytree(made / "maps" / "metadata" / "imagenet_real", here / "data" / "metadata" / "imagenet")


def _subimages(here, made):
    _photos(here / "photos")
    _photos(here / "DIV2K_train_HR")
    (here / "extract.yaml").write_text("input_folder: photos\ncrop_sz: [256, 512]\nstep: [128, 256]\n")


def _score(here, made):
    photos = [(made / "photos" / f"{number}.bmp") for number in range(4)]
    for split in ("train", "test"):
        for number, path in enumerate(photos):
            target = here / "photos" / split / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).resize((16, 16)).save(target)


def _report(here, made):
    for name in ("out/demo", "results"):
        _copy(made / "runs", here / name)


def _patches(here, made):
    _copy(made / "colours", here / "patches")
    _copy(made / "images", here / "ILSVRC")


def _scenes(here, made):
    from tests.tools.blobgan_networks import save_blobgan

    save_blobgan(here / GAN)


TINY_SCORE = ("--config.model.nf=4", "--config.model.attn_resolutions=99", "--bs", "4", *CPU)
PAGES = {
    "docs/calibrate_rcps.md": Page(_calibrate, {
        0: ("--dims", "all", "--total_runs", "2"), 1: ("--total_runs", "2"), 4: ("--total_runs", "2")}),
    "docs/compute_fid.md": Page(_fid, {
        0: ("--num_gen", "6", *SMALL), 1: ("--num_gen", "6", *SMALL), 3: SMALL, 4: CPU, 6: SMALL}, {
        2: "CIFAR-10 and a trained network of 32 x 32 pixels are not in this repository",
        5: "ADM's reference batch (VIRTUAL_imagenet256_labeled.npz) and Inception's weights are not in this repository",
        7: "AlexNet's weights (alexnet-owt-7be5be79.pth, 244 MB) are not in this repository"}),
    "docs/extract_subimages.md": Page(_subimages),
    "docs/extract_real_imagenet.md": Page(_activations, {
        0: ("--num_samples", "6", "--class_map", "none", *CPU),
        2: ("--num_samples", "6", "--class_map", "none", "--output_dir", "out/third", *CPU)},
        {1: "EDM's pickle and ImageNet are not in this repository; tests/common/formats/test_network_pickle.py"}),
    "docs/generate_blobgan.md": Page(_scenes, {0: ("-n", "4", *CPU), 1: CPU, 2: ("-n", "4", *CPU)}),
    "docs/generate_dataset.md": Page(_activations, {
        0: ("--num_samples", "3", *CPU), 1: ("--num_samples", "3", "--output_dir", "out/second", *CPU),
        2: ("--num_samples", "3", "--output_dir", "out/third", *CPU)}),
    "docs/generate_ffhq.md": Page(_faces, {
        0: ("--num_images", "3", "--no_stats", *CPU), 1: ("--num_images", "3", "--no_stats", *CPU),
        2: ("--num_images", "3", "--no_stats", "--output_base_dir", "out/third", *CPU)}),
    "docs/generate_outputs_npz.md": Page(_encode, {0: ("--resize_factor", "4", *CPU), 1: CPU, 2: CPU}),
    "docs/process_embeddings.md": Page(_maps),
    "docs/qc_ncsn.md": Page(_score, {
        0: (*TINY_SCORE, "--n_iters", "100", "--config.training.snapshot_freq=10"),
        1: (*TINY_SCORE, "--n_iters", "110", "--config.training.snapshot_freq=10"),
        2: ("--num_samples", "4", "--config.sampling.num_scales=2", "--num_steps", "2", *CPU),
        3: ("--num_images", "2", "--total_repeat", "1", "--rtol", "0.5", "--atol", "0.5", *CPU),
        4: ("--num_images", "2", *CPU), 5: ("--num_images", "2", "--nl", "2", *CPU), 6: CPU,
        10: (*TINY_SCORE, "--n_iters", "4"),
        11: ("--num_samples", "4", "--num_steps", "2", *CPU), 12: ("--dataset", "digits", *CPU)}),
    "docs/report.md": Page(_report),
    "docs/setup_fid.md": Page(_statistics, {0: (*SMALL, "--n_imgs", "4", "--resolution", "24"), 6: SMALL}, {
        3: "the second statistics are the reader's own",
        5: "the archive of BlobGAN's authors is not in this repository"}),
    "docs/train_edm.md": Page(_patches, {
        0: ("--steps", "2", "--samples_per_class", "1", *CPU),
        1: (*NETWORK, "--steps", "2", "--overwrite", "--samples_per_class", "0", *CPU)},
        {2: "the network of --preset imagenet64 takes minutes a step on a CPU"}),
}
# Commands of pages that other tests run dry to their end, with stand-ins.
ELSEWHERE = {
    "docs/blobex_inv_cf.md:7": "tests/tools/blobex_inv_cf/test_page.py",
    "docs/train_decision_model.md:7": "tests/tools/train_decision_model/test_page.py",
    "docs/blobex_inv_cf_measured.md:5": "tests/test_counterfactuals_demo.py",
}
