"""Small modules from codes to images, and how they become files."""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 7


class Small(nn.Module):
    """z (n, 7) -> images (n, 3, 8, 8) in [-1, 1]."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0, channels: int = 3):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.norm = nn.Linear(WIDTH, 8 * 4 * 4), nn.BatchNorm2d(8)
            self.last = nn.Conv2d(8, channels, 3, padding=1)
        self.scale, self.shift = scale, shift

    def forward(self, z):
        h = F.relu(self.norm(self.first(z).reshape(-1, 8, 4, 4)))
        return torch.tanh(2 * self.last(F.interpolate(h, scale_factor=2.0))) * self.scale + self.shift


class Transposed(nn.Module):
    """z (n, 5, 1, 1) -> images (n, 1, 4, 4), as DCGAN's generators."""

    def __init__(self):
        super().__init__()
        self.first = nn.ConvTranspose2d(5, 1, 4)

    def forward(self, z):
        return torch.tanh(self.first(z))


class OwnNoise(Small):
    """Adds noise that it draws itself."""

    def forward(self, z):
        h = F.relu(self.norm(self.first(z).reshape(-1, 8, 4, 4)))
        return torch.tanh(self.last(F.interpolate(h, scale_factor=2.0)) + torch.randn(z.shape[0], 1, 8, 8))


class OfTheBatch(Small):
    """Takes half the mean of its batch away."""

    def forward(self, z):
        h = self.first(z - 0.5 * z.mean(0)).reshape(-1, 8, 4, 4)
        return torch.tanh(self.last(F.interpolate(h, scale_factor=2.0)))


class Quiet(Small):
    """Works under no_grad, splits, and builds shapes from its input's."""

    @torch.no_grad()
    def forward(self, z):
        left, right = self.first(z).reshape(z.shape[0], 8, 4, 4).chunk(2, dim=1)
        h = torch.cat([left, right.flip(1)], dim=1)[:, torch.tensor([1, 0, 2, 3, 4, 5, 6, 7])]
        h = h + torch.zeros(z.shape[0], 1, 1, 1, device=z.device) + h.new_full((2 * z.shape[0], 1, 1, 1),
                                                                               0.1)[: z.shape[0]]
        return torch.tanh(self.last(F.interpolate(h, scale_factor=2.0)))


def scripted(path, module):
    torch.jit.script(module.eval()).save(path)
    return path


def exported(path, module, batch=None, size=WIDTH):
    """Export for one batch size, or for every one."""
    shapes = None if batch else ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module.eval(), (torch.randn(batch or 3, size),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


class Fewer(nn.Module):
    """Returns one image for every two codes."""

    def forward(self, z):
        return torch.tanh(z.reshape(-1, 1, 2, 7))


class Two(nn.Module):
    """Returns two tensors."""

    def forward(self, z):
        return z, z


class Writes(Small):
    """Writes a file while it makes images."""

    def forward(self, z):
        torch.save(z, "written")
        return torch.tanh(self.last(F.interpolate(self.first(z).reshape(-1, 8, 4, 4), scale_factor=2.0)))
