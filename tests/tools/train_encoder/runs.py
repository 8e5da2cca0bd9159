"""Tiny trainings: a BlobGAN of 16 px with 3 blobs, pictures of colours, a small decision model."""

import numpy as np
import torch
from PIL import Image

from common.networks.blobgan.configuration import BlobGANConfig
from common.networks.blobgan.files import write_checkpoint
from common.networks.decision import write_decision_model
from common.networks.decision_networks import DecisionConfig, build_decision_model
from tests.tools.commands import results_of, start_tool

SIDE = 16
CONFIG = BlobGANConfig(n_features=3, noise_dim=6, dim=5, resolution=SIDE, aspect_ratio=1, feature_dim=7, size_in=8,
                       override_c_in=7, mlp_n_layers=3, mlp_hidden_dim=12, mlp_lr_mul=0.1,
                       generator_channels={8: 8, 16: 8}, discriminator_channels={16: 8, 8: 12, 4: 12})
SMALL = ("--blobgan_weights", "gan.ckpt", "--batch_size", "4", "--n_iters", "12", "--save_every", "5",
         "--log_imgs_every", "0", "--log_every", "1", "--val_images", "6", "--device", "cpu", "--num_workers", "0")
PRETRAIN = ("pretrain", *SMALL)
TRAIN = ("train", *SMALL, "--dataset_path", "images", "--perceptual", "decision.tar", "--decision_weights",
         "decision.tar", "--start_weights", "none")


def write_gan(path, config=CONFIG, seed=0):
    """Write a BlobGAN with random weights, the live pair half of the averaged one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = {"generator_ema": config.generator(), "layout_net_ema": config.layout_net()}
    for name in ("generator", "layout_net"):
        live = getattr(config, name)()
        live.load_state_dict({key: value / 2 for key, value in networks[f"{name}_ema"].state_dict().items()})
        networks[name] = live
    write_checkpoint(path, config, networks, step=7)
    return path


def write_decision(path, size=(SIDE, SIDE), seed=0):
    """Write a small decision model of four attributes with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_decision_model(DecisionConfig("small", ("Forward", "Stop", "Left", "Right"), size, width=4))
    write_decision_model(path, model, 0, 1.0, {})
    return path


def write_images(folder, count=20, size=(24, 20), first=0):
    """Write pictures of random colours."""
    folder.mkdir(parents=True)
    for number in range(count):
        low = np.random.default_rng(first + number).integers(0, 256, (3, 3, 3), np.uint8)
        Image.fromarray(low).resize(size, Image.Resampling.BICUBIC).save(folder / f"{number:02d}.png")


def write_material(folder):
    """Write gan.ckpt, decision.tar and images/."""
    write_gan(folder / "gan.ckpt")
    write_decision(folder / "decision.tar")
    write_images(folder / "images")


def train(*words, out="out"):
    """Train in this process; returns the results. words: PRETRAIN or TRAIN, and more."""
    return results_of("train_encoder", *words, "--output_dir", out)


def start(folder, *words):
    """Start a training in a process of its own, in a folder."""
    return start_tool("train_encoder", folder, *words)
