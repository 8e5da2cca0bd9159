"""The layout network of BlobGAN: noise -> latent -> K blobs and a background, and what is done with such blobs.

Names of the weights are those of published checkpoints (`mlp.1.weight` ... `mlp.8.bias`).
"""

from typing import NamedTuple, Optional

import torch
from torch import nn

from common.errors import InputError, Parameter
from common.nn.equalised import EqualLinear

EPSILON = 1e-5  # of the norms of features and noise


class Blobs(NamedTuple):
    """The layouts of B pictures with K blobs; row 0 of sizes, features and styles is the background.

    xs, ys: (B, K) in 0..1.  sizes: (B, K + 1), logits; row 0 is not used.  covs: (B, K, 4), raw.
    features: (B, K + 1, Df).  spatial_style: (B, K + 1, Ds).
    """

    xs: torch.Tensor
    ys: torch.Tensor
    sizes: torch.Tensor
    covs: torch.Tensor
    features: torch.Tensor
    spatial_style: torch.Tensor


def detach(blobs):
    """Return blobs without their history."""
    return Blobs(*(part.detach() for part in blobs))


def to(blobs, device):
    """Return blobs on a device."""
    return Blobs(*(part.to(device) for part in blobs))


def select(blobs, rows):
    """Return the blobs of some pictures; rows: a slice, list or tensor of indices."""
    return Blobs(*(part[rows] for part in blobs))


def cat(parts):
    """Return a list of blobs as one."""
    return Blobs(*map(torch.cat, zip(*parts)))


def normalised(x):
    """Return x divided by its root mean square along the last dimension."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPSILON)


class VectorNorm(nn.Module):
    """Divides each vector along the last dimension by its root mean square."""

    def forward(self, x):
        """Return x (..., C) normalised."""
        return normalised(x)


class LayoutNet(nn.Module):
    """An MLP from noise to all parameters of K blobs.

    mlp_idx, in its methods: the number of the MLP's module (the first is the norm of the noise) that reads the latent;
    -1: the last layer; "raw" or the number of modules: none, the latent is the vector of all parameters.
    """

    def __init__(self, num_blobs, noise_dim=512, feature_dim=512, style_dim=512, hidden_dim=1024, num_layers=8,
                 lr_mul=0.01, norm_features=True, spatial_style=True, detach_covs=True):
        super().__init__()
        self.num_blobs, self.noise_dim, self.feature_dim = num_blobs, noise_dim, feature_dim
        self.style_dim = style_dim if spatial_style else 0
        self.norm_features, self.detach_covs = norm_features, detach_covs
        each = feature_dim + self.style_dim
        self.raw_dim = num_blobs + 1 + each + num_blobs * (6 + each)
        widths = [noise_dim, *[hidden_dim] * (num_layers - 1), self.raw_dim]
        self.mlp = nn.Sequential(VectorNorm(), *(
            EqualLinear(before, after, lr_mul, activated=index < num_layers - 1)
            for index, (before, after) in enumerate(zip(widths, widths[1:]))))

    def forward(self, z):
        """Return the Blobs of noise z ~ N(0, 1) (B, noise_dim)."""
        return self.blobs(self.mlp(z))

    def latent(self, z, mlp_idx=-1):
        """Return what the modules before mlp_idx make of noise z (B, noise_dim): (B, L)."""
        return self.mlp[: self.module_number(mlp_idx)](z)

    def decode(self, latent, mlp_idx=-1):
        """Return the Blobs of latents (B, L) that `latent` made with the same mlp_idx."""
        return self.blobs(self.mlp[self.module_number(mlp_idx) :](latent))

    def truncate(self, latent, mean, truncation):
        """Return latents drawn towards the mean latent; truncation 0: none, 1: the mean itself."""
        return truncation * mean + (1 - truncation) * latent if truncation else latent

    def latent_dim(self, mlp_idx=-1):
        """Return the width of the latent before module mlp_idx."""
        index = self.module_number(mlp_idx)
        index += len(self.mlp) if index < 0 else 0
        return self.raw_dim if index == len(self.mlp) else self.mlp[max(index, 1)].weight.shape[1]

    def module_number(self, mlp_idx):
        """Return the number of the module that mlp_idx stands for, from 0."""
        modules = len(self.mlp)
        index = modules if mlp_idx == "raw" else mlp_idx + modules if mlp_idx < 0 else mlp_idx
        if not 0 <= index <= modules:
            raise InputError(f"the layout network has {modules} modules", where=Parameter("mlp_idx", mlp_idx),
                             do=f"Pass -{modules} to {modules}, or raw")
        return index

    def blobs(self, raw, num_blobs: Optional[int] = None):
        """Return the Blobs of raw vectors (B, raw_dim): sizes, the background's feature and style, then row by row.

        num_blobs: take the first so many.
        """
        count, features, styles = self.num_blobs, self.feature_dim, self.style_dim
        sizes, background, rows = raw.split([count + 1, features + styles, count * (6 + features + styles)], dim=1)
        rows = rows.unflatten(1, (count, 6 + features + styles))[:, :num_blobs]  # (B, K, 6 + Df + Ds)
        xys, covs, foreground = rows.split([2, 4, features + styles], dim=2)
        vectors = torch.cat([background[:, None], foreground], dim=1)  # (B, K + 1, Df + Ds)
        parts = vectors.split([features, styles], dim=2)
        if self.norm_features:
            parts = map(normalised, parts)
        xs, ys = torch.sigmoid(xys).unbind(2)
        sizes = sizes if num_blobs is None else sizes[:, : num_blobs + 1]
        return Blobs(xs, ys, sizes, covs.detach() if self.detach_covs else covs, *parts)
