"""Tiny inputs of blobex_inv_cf: a BlobGAN of 16 px with 3 blobs, an encoder, a decision model, pictures."""

import csv
from pathlib import Path

import torch

from common.networks.blobgan.encoder_files import EncoderConfig, write_encoder
from common.networks.blobgan.files import read_blobgan
from common.networks.decision import open_decision_model, write_decision_model
from common.networks.decision_networks import DecisionConfig, build_decision_model
from tests.tools.train_encoder.runs import CONFIG, SIDE, write_gan, write_images

NAMES = ("Forward", "Stop", "Left", "Right")
STRENGTH = 4.0  # spread of the logits over layouts
WORDS = ("--blobgan_weights", "gan.ckpt", "--encoder_weights", "encoder.pt", "--decision_model_weights", "decision.tar",
         "--perceptual", "decision.tar", "--dataset_path", "val", "--output_dir", "out", "--bs", "3", "--n_iters_inv",
         "4", "--n_iters_cf", "40", "--learning_rate_cf", "0.5", "--margin", "1", "--sparse_margin", "0.5", "--device",
         "cpu", "--preset", "streets")


def write_decision(path, gan, seed=0, names=NAMES, kind="attributes"):
    """Write a small decision model whose logits on pictures of the BlobGAN lie around 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_decision_model(DecisionConfig("small", names, (SIDE, SIDE), kind=kind, width=4)).eval()
        z = torch.randn(200, CONFIG.noise_dim)
    with torch.no_grad():
        pictures = gan.render(gan.layouts(z))
        logits = model.logits(pictures)
        scale = STRENGTH / logits.std(dim=0)
        last = model.classifier
        last.weight.mul_(scale[:, None])
        last.bias.copy_((last.bias - logits.mean(dim=0)) * scale)
    write_decision_model(path, model, 0, 1.0, {})
    return path


def write_material(folder, images=5):
    """Write gan.ckpt, encoder.pt, decision.tar and val/ into a folder; return it."""
    folder = Path(folder)
    gan = read_blobgan(write_gan(folder / "gan.ckpt"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder = EncoderConfig(SIDE, 1, CONFIG.mlp_hidden_dim, channels=(8, 8, 8))
        write_encoder(folder / "encoder.pt", encoder, encoder.build().state_dict(), None, None, 1)
    write_decision(folder / "decision.tar", gan)
    write_images(folder / "val", images)
    return folder


def lines(folder="out"):
    """Return the lines of a folder's pairs.csv as dictionaries of text."""
    with open(Path(folder) / "pairs.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def metadata(number=0, folder="out"):
    """Return the contents of metadata_<number>.pt as torch.load gives them."""
    return torch.load(Path(folder) / f"metadata_{number}.pt", weights_only=True)


def explained(pictures):
    """Return the decision model's logits of pictures."""
    with torch.no_grad():
        return open_decision_model("decision.tar").logits(pictures)
