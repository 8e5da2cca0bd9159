"""What a training reads: the BlobGAN, the encoder it starts from, the networks of its terms, real pictures."""

from pathlib import Path

import torch

from common import console, parallel
from common.blobs.perceptual import open_perceptual
from common.errors import InputError
from common.files import file_hash
from common.formats.checkpoints import load_strictly, weights_hash
from common.networks.blobgan.encoder_files import EncoderConfig, read_encoder
from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.resnet_encoder import CHANNELS
from common.seeding import unit_generator, unit_seed
from tools.train_encoder.options import NONE, SIDES, TrainOptions, mlp_index, weights_of

SPREAD = 0.1  # of a new encoder's outputs about the mean latent, as a share of what its random weights give
DRAWS = 1000  # of the mean of an earlier latent


class Material:
    """gan: the BlobGAN, fixed.  config: EncoderConfig.  network: the encoder.  perceptual, decision: networks of terms
    and of the quality, or None.  real, held_out: PreparedImages, None in pretraining."""

    def __init__(self, options, device):
        self.options, self.weights = options, weights_of(options)
        self.gan = open_blobgan(options, device)
        sizes, idx = self.gan.config, mlp_index(options)
        self.transform = sizes.transform
        channels = options.channels or default_channels(options.arch, sizes)
        width = latent_width(self.gan, idx, options)
        self.config = EncoderConfig(sizes.resolution, sizes.aspect_ratio, width, options.arch, tuple(channels), idx,
                                    self.transform.describe())
        self.network = new_encoder(options, self.config, self.gan)
        self.perceptual = open_perceptual(options.lpips_weights, options.perceptual, device, self._needs("lpips"))
        self.decision = open_decision(options, self.transform, device, self._needs("decision"))
        self.real = self.held_out = None
        if isinstance(options, TrainOptions):
            self.real, self.held_out = open_images(options, self.transform)

    def _needs(self, measure):
        """Return the flag of a term with weight that a measure computes, or None."""
        return next((f"--{side}_{measure}" for side in SIDES if self.weights[f"{side}_{measure}"]), None)

    @torch.no_grad()
    def begin(self):
        """Let an encoder with weights from the seed give nearly the mean latent of any picture, unless the flags say
        otherwise; called before the first step, since the mean goes into the cache."""
        if self.options.init == "mean" and self.options.start_weights == NONE:
            self.network.last.bias.copy_(mean_at(self.gan, self.config.mlp_idx))
            self.network.last.weight.mul_(SPREAD)

    def derived(self):
        """Return what shapes results beside the flags."""
        options = self.options
        found = {"contents of blobgan_weights": weights_hash(self.gan), "encoder": list(self.config.channels)}
        used = {"decision_weights": self.decision, "lpips_weights": self.perceptual, "perceptual": self.perceptual,
                "start_weights": options.start_weights != NONE or None}
        for name, network in used.items():
            path = getattr(options, name)
            found[f"contents of {name}"] = None if None in (path, network) else file_hash(path)
        for name, images in (("real pictures", self.real), ("held-out pictures", self.held_out)):
            found[name] = None if images is None else images.fingerprint()
        if options.schedule in ("cosine", "linear"):
            found["steps of the schedule"] = options.n_iters  # the learning rate depends on the last step
        return found


def open_blobgan(options, device):
    """Return the BlobGAN of the flags, in evaluation mode with fixed parameters."""
    if not Path(options.blobgan_weights).exists():
        raise InputError("no such file", where=options.blobgan_weights,
                         do="Pass --blobgan_weights: a checkpoint of train_blobgan or a published blobgan_256x512.ckpt")
    gan = read_blobgan(options.blobgan_weights, device, "raw" if options.live_weights else "ema",
                       "--live_weights")
    gan.check_encodable(options.blobgan_weights)
    return gan


def default_channels(arch, sizes):
    """Return the channels of an encoder: by height those of the BlobGAN's discriminator, or ResNet-18's by stage."""
    widths = sizes.discriminator_widths()
    heights = sorted((height for height in widths if height <= sizes.resolution), reverse=True)
    return CHANNELS if arch == "resnet" else [widths[height] for height in heights]


def latent_width(gan, idx, options):
    """Return the width of the latent at --mlp_idx; InputError for a module that the layout network has not."""
    count = len(gan.layout_net.mlp)
    if options.truncation_max and idx not in (-1, "raw", count - 1, count):
        raise InputError("truncation acts on the last latent, this is an earlier one", where=f"--mlp_idx {idx}",
                         do="Pass --mlp_idx -1 or raw, or leave out the truncation")
    if idx != "raw" and not -count < idx <= count:
        raise InputError(f"the layout network has {count} modules", where=f"--mlp_idx {idx}",
                         do="Pass -1, as the original, raw, or the number of a module")
    return gan.layout_net.latent_dim(idx)


def new_encoder(options, config, gan):
    """Return an encoder with weights from the seed, or those of --start_weights."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(unit_seed(options.seed, "weights"))
            network = config.build()
    except ValueError as error:
        raise InputError(str(error), where=f"--channels {' '.join(map(str, options.channels))}",
                         do="Give one number for each height, from the pictures' to 4") from error
    if options.start_weights != NONE:
        if not Path(options.start_weights).exists():
            raise InputError("no such file", where=options.start_weights,
                             do="Pretrain one, or pass --start_weights none")
        file = read_encoder(options.start_weights, gan)
        do = "Pass --arch, --channels and --mlp_idx of that encoder"
        load_strictly(network, file.network.state_dict(), options.start_weights, do=do)
        theirs, own = (gan.layout_net.module_number(each.mlp_idx) for each in (file.config, config))
        if theirs != own:  # two latents may have the same width
            raise InputError(f"it predicts the latent before module {theirs}, this training that before {own}",
                             where=options.start_weights, do=do)
    return network.train()


@torch.no_grad()
def mean_at(gan, idx):
    """Return the mean (L,) of the latents at mlp_idx."""
    net = gan.layout_net
    if idx in (-1, len(net.mlp) - 1):
        return gan.mean_latent()
    if idx in ("raw", len(net.mlp)):  # a linear layer away
        return net.mlp[-1](gan.mean_latent()[None])[0]
    z = torch.randn(DRAWS, net.noise_dim, generator=unit_generator(0, "mean latent"))
    return net.latent(z.to(gan.device), idx).mean(dim=0)


def open_decision(options, transform, device, needed_by):
    """Return the DecisionModel of the flags, None where there is none; it must take pictures of the generator's size.

    A file that is there measures the quality at the end, even where no term needs it.
    """
    path = options.decision_weights
    if path in (None, NONE) or not (needed_by or Path(path).exists()):
        if needed_by:
            raise InputError("needs a decision model", where=needed_by, do="Pass --decision_weights, or a weight of 0")
        return None
    if not Path(path).exists():
        raise InputError("no such file", where=path, do="Pass --decision_weights: a file of train_decision_model or a "
                         "published decision_densenet.tar; or a weight of 0 for the decision terms")
    from common.networks.decision import open_decision_model

    model = open_decision_model(path, device)
    if model.config.arch == "small" and tuple(model.size) != transform.size:  # the others take pictures of any size
        raise InputError("its pictures have {} x {} px, the generator's {} x {}".format(*model.size, *transform.size),
                         where=path, do="Use a decision model of this size")
    return model


def open_images(options, transform):
    """Return (real pictures for training, held-out ones) as PreparedImages."""
    from common.datasets.prepared import open_prepared

    given = options.data_dir, options.memory_gb
    real = open_prepared(options.dataset_path, "train", transform, *given, hold_out=options.val_path is None)
    held_out = open_prepared(options.dataset_path, "val", transform, *given, hold_out=True) \
        if options.val_path is None else open_prepared(options.val_path, "train", transform, *given)
    for images in (real, held_out):
        images.check_apart(options.output_dir)
        images.check()  # where all are damaged, before anything is written
        images.note_changes()
    own, others = ({**images.fingerprint(), "name": None} for images in (real, held_out))
    if own == others and parallel.is_main():
        console.say("note: the held-out pictures of --val_path are those that are trained on, and choose best.pt")
    return real, held_out


