"""The ADM U-Net (Dhariwal and Nichol 2021) under EDM's preconditioning (Karras et al. 2022), as EDM and DMD2 use it.

State-dict names, their order and the initial values are those of NVlabs/edm (`training/networks.py`), so the published
files load unchanged. Beside images the network returns the outputs of its layers by name, see `EDMPrecond.run`.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import InputError
from common.networks.adm_config import check_layers, decoder_parts, encoder_parts
from common.nn.dropout import Dropout

SPREAD = math.sqrt(1 / 3)  # EDM's init_weight: initial weights relative to Kaiming's uniform ones


def _kaiming(shape, fan_in, scale):
    """Return uniform values of standard deviation scale / sqrt(fan_in)."""
    values = torch.empty(shape)
    if values.is_meta:  # to be filled from a file; drawing on meta would import a second's worth of torch
        return values
    return values.uniform_(-1, 1) * (scale * math.sqrt(3 / fan_in))


class Linear(nn.Module):
    """A linear layer whose bias, too, is initialised at random."""

    def __init__(self, features_in, features_out, bias=True, scale=SPREAD):
        super().__init__()
        self.weight = nn.Parameter(_kaiming((features_out, features_in), features_in, scale))
        self.bias = nn.Parameter(_kaiming((features_out,), features_in, scale)) if bias else None

    def forward(self, x):
        """Return (B, out) of x (B, in)."""
        return F.linear(x, self.weight, self.bias)  # (B, out)


class Conv2d(nn.Module):
    """A convolution (size 0: none) after an optional 2x resampling by EDM's filter of four quarters.

    That filter is the mean of 2x2 pixels downwards and the repetition of each pixel upwards.
    """

    def __init__(self, channels_in, channels_out, size, resample=None, scale=SPREAD):
        super().__init__()
        fan_in = channels_in * size**2
        self.size, self.resample = size, resample
        self.weight = nn.Parameter(_kaiming((channels_out, channels_in, size, size), fan_in, scale)) if size else None
        self.bias = nn.Parameter(_kaiming((channels_out,), fan_in, scale)) if size else None
        if resample:  # in every published file, always with these values
            self.register_buffer("resample_filter", torch.full((1, 1, 2, 2), 0.25))

    def forward(self, x):
        """Return the convolution of x (B, C, H, W), resampled as configured."""
        if self.resample == "down":
            x = F.avg_pool2d(x, 2)  # (B, C, H/2, W/2)
        elif self.resample == "up":
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")  # (B, C, 2H, 2W)
        if self.size == 0:
            return x
        return F.conv2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype), padding=self.size // 2)  # (B, C', H', W')


class GroupNorm(nn.Module):
    """Group normalisation."""

    def __init__(self, channels, groups):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        """Return x (B, C, H, W), normalised in groups of channels."""
        return F.group_norm(x, self.groups, self.weight.to(x.dtype), self.bias.to(x.dtype), eps=1e-5)  # (B, C, H, W)


class UNetBlock(nn.Module):
    """Residual block with resampling, scaled and shifted by the embedding, then self-attention if it has heads."""

    def __init__(self, part, config):
        super().__init__()
        width_in, width = part.channels_in, part.channels_out
        resample = part.kind if part.kind in ("up", "down") else None
        self.heads = config.heads(width) if part.attention else 0
        self.norm0 = GroupNorm(width_in, config.groups(width_in))
        self.conv0 = Conv2d(width_in, width, 3, resample)
        self.affine = Linear(config.model_channels * config.channel_mult_emb, 2 * width)
        self.norm1 = GroupNorm(width, config.groups(width))
        self.dropout = Dropout(config.dropout)
        self.conv1 = Conv2d(width, width, 3, scale=0.0)  # zero: an untrained block passes its shortcut through
        self.skip = Conv2d(width_in, width, int(width_in != width), resample) if width_in != width or resample else None
        if self.heads:
            self.norm2 = GroupNorm(width, config.groups(width))
            self.qkv = Conv2d(width, 3 * width, 1)
            self.proj = Conv2d(width, width, 1, scale=0.0)

    def forward(self, x, embedding):
        """x: (B, channels_in, H, W).  embedding: (B, E) or (1, E).  Returns (B, channels_out, H', W')."""
        h = self.conv0(F.silu(self.norm0(x)))  # (B, channels_out, H', W')
        scale, shift = self.affine(embedding)[:, :, None, None].to(x.dtype).chunk(2, dim=1)  # (B, channels_out, 1, 1)
        h = F.silu(torch.addcmul(shift, self.norm1(h), scale + 1))  # adaptive scale; the first half scales
        h = self.conv1(self.dropout(h)) + (x if self.skip is None else self.skip(x))  # (B, channels_out, H', W')
        return self.attend(h) + h if self.heads else h  # unlike NCSN++ and DDPM++, sums are not divided by sqrt(2)

    def attend(self, x):
        """Return self-attention over all positions; weights and softmax are float32 inside the fused kernel."""
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm2(x)).reshape(batch, self.heads, channels // self.heads, 3, height * width)
        q, k, v = qkv.permute(3, 0, 1, 4, 2).contiguous()  # (B, heads, HW, C / heads) each; interleaved in the files
        h = F.scaled_dot_product_attention(q, k, v)  # (B, heads, HW, C / heads)
        return self.proj(h.transpose(2, 3).reshape(x.shape))  # (B, C, H, W)


def positional_embedding(noise_labels, channels):
    """Return (B, channels): cosines, then sines, of noise_labels (B,) times 10000^(-k / (channels / 2))."""
    steps = torch.arange(channels // 2, dtype=torch.float32, device=noise_labels.device) / (channels // 2)
    phase = noise_labels[:, None] * ((1 / 10000) ** steps).to(noise_labels.dtype)[None, :]  # (B, channels / 2)
    return torch.cat([phase.cos(), phase.sin()], dim=1)  # (B, channels)


class DhariwalUNet(nn.Module):
    """F(x, noise label, class labels): the network inside the preconditioning."""

    def __init__(self, config):
        super().__init__()
        self.config, embedding = config, config.model_channels * config.channel_mult_emb
        self.label_drop = Dropout(config.label_dropout)
        if config.augment_dim:
            self.map_augment = Linear(config.augment_dim, config.model_channels, bias=False, scale=0.0)
        self.map_layer0 = Linear(config.model_channels, embedding)
        self.map_layer1 = Linear(embedding, embedding)
        if config.label_dim:
            self.map_label = Linear(config.label_dim, embedding, bias=False)
            if not self.map_label.weight.is_meta:
                nn.init.normal_(self.map_label.weight)  # Kaiming's sqrt(1 / label_dim), times sqrt(label_dim)
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        self.takes_skip = {}
        for part in [*encoder_parts(config), *decoder_parts(config)]:
            side, name = part.module.split(".")
            is_conv = part.kind == "conv"
            getattr(self, side)[name] = Conv2d(part.channels_in, part.channels_out, 3) if is_conv else \
                UNetBlock(part, config)
            self.takes_skip[part.module] = part.takes_skip
        self.out_norm = GroupNorm(part.channels_out, config.groups(part.channels_out))
        self.out_conv = Conv2d(part.channels_out, config.out_channels or config.img_channels, 3, scale=0.0)

    def embed(self, noise_labels, class_labels, augment_labels=None):
        """Return the embedding (B, E) that every block reads.

        noise_labels: (B,) or (1,).  class_labels: (B, label_dim) or None for zeros.  augment_labels: (B, augment_dim).
        """
        e = positional_embedding(noise_labels, self.config.model_channels)  # (B, model_channels)
        if augment_labels is not None:
            e = e + self.map_augment(augment_labels)
        e = self.map_layer1(F.silu(self.map_layer0(e)))  # (B, E)
        if class_labels is not None and self.config.label_dim:
            keep = self.label_drop.mask(class_labels[:, :1])  # (B, 1): a row's label is dropped as a whole, unscaled
            e = e + self.map_label(class_labels if keep is None else class_labels * (keep > 0))  # (B, E)
        return F.silu(e)

    def forward(self, x, embedding, wanted=(), replaced=None, image=True):
        """Return (F(x) or None, {module: output} of the `wanted` modules, such as `enc.8x8_block0`).

        x: (B, C, R, R).  embedding: see embed.  replaced: {module: tensor (1 or B, C, H, W)} to use as outputs of these
        modules, in the skip connections too.  image: when False the pass ends after the last wanted module.
        """
        replaced, captured, skips, left = replaced or {}, {}, [], set(wanted)
        modules = [(f"{side}.{name}", block) for side in ("enc", "dec") for name, block in getattr(self, side).items()]
        for name, block in modules:
            if not image and not left:
                return None, captured
            if self.takes_skip[name]:
                x = torch.cat([x, skips.pop()], dim=1)  # (B, C + skip, H, W)
            x = block(x) if isinstance(block, Conv2d) else block(x, embedding)  # (B, C', H', W')
            if name in replaced:
                x = replaced[name].to(x).expand_as(x)
            if name.startswith("enc."):
                skips.append(x)
            if name in left:
                captured[name] = x
                left.discard(name)
        return (self.out_conv(F.silu(self.out_norm(x))) if image else None), captured  # (B, out_channels, R, R)


class EDMPrecond(nn.Module):
    """D(x; sigma, class labels): the denoiser, in the preconditioning of EDM (Karras et al. 2022, table 1)."""

    def __init__(self, config):
        """config: an `adm_config.AdmConfig`.

        body_dtype, when set, is the precision that everything but the embedding runs in, whatever the weights' own:
        training in bfloat16 keeps float32 weights, as EDM does with float16.
        """
        super().__init__()
        self.config, self.body_dtype = config, None
        self.model = DhariwalUNet(config)

    @property
    def image_shape(self):
        """(C, R, R) of its images."""
        return self.config.img_channels, self.config.img_resolution, self.config.img_resolution

    def forward(self, x, sigma, class_labels=None, augment_labels=None):
        """Return the denoised images (B, C, R, R), float32 (float64 where the weights are).

        x: (B, C, R, R), images in [-1, 1] plus noise of standard deviation sigma.  sigma: a number, (1,) or (B,), > 0.
        class_labels: (B, label_dim) or (1, label_dim) floats, one-hot or any weights; None: zeros.
        """
        return self.run(x, sigma, class_labels, augment_labels=augment_labels)[0]

    def run(self, x, sigma, class_labels=None, layers=(), replace=None, image=True, augment_labels=None):
        """Return (denoised images, {layer: output}): one forward pass that also returns the outputs of named layers.

        layers: names as in `adm_config.named_parts`; outputs come in the order in which the layers run, under the
        requested names, in the precision that the network computes in.  replace: {layer: (1 or B, C, H, W)}, outputs to
        use instead of a layer's own, in its skip connection to the decoder too.
        image: when False the images are None and the pass ends after the last requested layer.
        Raises InputError for an unknown layer or a replacement of another shape.
        """
        c_skip, c_out, c_in, noise_label = self.scalings(sigma, x)
        parts = check_layers(self.config, layers)
        replaced = self._replaced(replace or {}, len(x))
        working = self.model.map_layer0.weight.dtype
        x = x.to(working)
        labels = (None if value is None else value.to(working) for value in (class_labels, augment_labels))
        embedding = self.model.embed(noise_label, *labels)  # (1 or B, E)
        body = (c_in * x).to(self.body_dtype or self.model.out_conv.weight.dtype)  # (B, C, R, R)
        modules = {part.module for part in parts.values()}
        out, captured = self.model(body, embedding, modules, replaced, image)
        denoised = None
        if image:  # channels beyond the images' are iDDPM's variances
            denoised = c_skip * x + c_out * out[:, : self.config.img_channels].to(working)  # (B, C, R, R)
        return denoised, {name: captured[part.module] for name, part in parts.items()}

    def scalings(self, sigma, x):
        """Return (c_skip, c_out, c_in) of shape (1 or B, 1, 1, 1) and the noise label (1 or B,) of noise levels."""
        dtype, data = self.model.map_layer0.weight.dtype, self.config.sigma_data
        sigma = torch.as_tensor(sigma, dtype=dtype, device=x.device).reshape(-1)
        total = (sigma**2 + data**2)[:, None, None, None]
        wide = sigma[:, None, None, None]
        return data**2 / total, wide * data / total.sqrt(), 1 / total.sqrt(), sigma.log() / 4  # c_noise = ln(sigma) / 4

    def round_sigma(self, sigma):
        """Return the noise level that a sampler may ask for in place of sigma, a number: any."""
        return sigma

    def _replaced(self, replace, batch):
        """Return {module: tensor} of {layer: tensor}, shapes checked."""
        parts = check_layers(self.config, replace, where="replaced layers")
        for name, part in parts.items():
            shape = tuple(replace[name].shape)
            if len(shape) != 4 or shape[0] not in (1, batch) or shape[1:] != part.shape:
                expected = f"(1 or {batch}, {', '.join(map(str, part.shape))})"
                raise InputError(f"the replacement of '{name}' has shape {shape}, expected {expected}",
                                 do="Use outputs of this layer or their mean")
        return {part.module: replace[name] for name, part in parts.items()}

    def set_dropout_draw(self, draw):
        """Make the following training-mode passes draw the masks of a DropoutDraw (None: torch's generator)."""
        drops = [module for module in self.modules() if isinstance(module, Dropout)]
        for number, module in enumerate(drops):
            module.layer, module.draw = number, draw

    def lower_precision(self, dtype):
        """Store and run everything but the embedding in bfloat16 or float16, for inference; returns the network.

        EDM does so on CUDA alone; on a CPU it works but is slow. Inputs, outputs, noise levels and the embedding stay
        float32.
        """
        for name, parameter in self.model.named_parameters():
            if not (name.startswith("map_") or ".affine." in name):
                parameter.data = parameter.data.to(dtype)
        return self.requires_grad_(False)
