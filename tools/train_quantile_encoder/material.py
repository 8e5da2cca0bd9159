"""What a training reads: generator, images, the weights that it starts from and those of its losses."""

import torch

from common.errors import InputError
from common.files import file_hash
from common.formats.checkpoints import load_strictly, weights_hash
from common.networks.quantile_encoder import build_encoder, preset_config
from common.networks.quantile_encoder_weights import load_backbone, load_quantile_encoder
from common.networks.stylegan2_weights import load_stylegan2
from common.seeding import unit_generator, unit_seed
from common.style_space import mean_latent, style_statistics
from tools.train_quantile_encoder.images import Folder

CODES, LATENTS = 1600, 4096  # of the statistics, as in the original; of the mean latent
STARTS = ("pretrained_model_path", "checkpoint_path", "lpips_weights", "id_weights")  # files that shape results


def open_generator(path, device):
    """Return the StyleGAN2File of --stylegan_weights."""
    from pathlib import Path

    if not Path(path).exists():
        raise InputError("no such file", where=path, do="Pass --stylegan_weights: the generator that made the images "
                         "(stylegan2-ffhq-config-f.pt of rosinality's stylegan2-pytorch)")
    return load_stylegan2(path, device)


class Material:
    """generated, real, val: Folders, the latter two may be None.  dims: coordinates of the validation.

    statistics: StyleStatistics of the generator.  centre: its mean (D,).  latent_avg: of W.
    """

    def __init__(self, options, generator, factors, probabilities, dims, device):
        self.generator, self.factors, self.probabilities, self.dims = generator.network, factors, probabilities, dims
        network, size, memory = generator.network, options.encoder_size, options.memory_gb
        codes = torch.randn(CODES, network.config.style_dim, generator=unit_generator(0, "style statistics"))
        self.statistics = style_statistics(network, codes)
        self.centre, self.latent_avg = self.statistics.mean, generator.latent_avg
        if self.latent_avg is None:
            codes = torch.randn(LATENTS, network.config.style_dim, generator=unit_generator(0, "mean latent"))
            self.latent_avg = mean_latent(network, codes)
        num_dims, self.made_by = len(self.centre), weights_hash(self.generator)
        self.generated = Folder(options.generated_train_data_path, factors, size, num_dims, memory,
                                options.generated_data_dir_prefix, self.made_by)
        real, val = options.real_train_data_path, options.val_data_path
        self.real = None if real is None else Folder(real, factors, size, None, memory)
        self.val = None if val is None else Folder(val, factors, size, num_dims, 0, generator=self.made_by)
        if self.val is not None:
            self.val.check()
        self.network = new_encoder(options, num_dims)
        self.lpips = self.arcface = None
        if options.lpips_weights:
            from common.networks.lpips import load_lpips

            self.lpips = load_lpips(options.lpips_weights, device)
        if options.id_weights:
            from common.networks.arcface import load_arcface

            self.arcface = load_arcface(options.id_weights, device)

    def derived(self, options):
        """Return what shapes results beside the flags."""
        found = {"generator": self.made_by, "dims numbers": list(self.dims)}
        for name in ("generated", "real", "val"):
            folder = getattr(self, name)
            found[f"{name} images"] = None if folder is None else folder.identity
        for name in STARTS:
            path = getattr(options, name)
            found[f"contents of {name}"] = None if path is None else file_hash(path)
        if options.lr_decay == "cosine":
            found["steps of the cosine"] = options.max_steps  # the learning rate depends on the last step
        return found


def new_encoder(options, num_dims):
    """Return an encoder with weights from the seed, or from the files that the flags name."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(unit_seed(options.seed, "weights"))
        network = build_encoder(preset_config(options.encoder_type, num_dims))
    if options.pretrained_model_path:
        load_backbone(network, options.pretrained_model_path)
    if options.checkpoint_path:
        file = load_quantile_encoder(options.checkpoint_path)
        load_strictly(network, file.network.state_dict(), options.checkpoint_path,
                      do="Pass the --encoder_type and the generator of that encoder")
    return network.train()
