"""The interface of explained models: images in [-1, 1] -> a signed number for each objective and row."""

from abc import ABC, abstractmethod

import torch


class Explained(ABC):
    """A model with A objectives, each of which is decided yes where its value is above 0. Nothing of it is trained.

    names: of the objectives.  size: (H, W) of its images, None for any.  description: plain values for a record.
    """

    names: tuple
    size = None
    description: dict

    @abstractmethod
    def values(self, images):
        """Return (B, A) of images (B, 3, H, W) in [-1, 1], with a derivative: logits, or distances from a threshold."""

    @abstractmethod
    def features(self, images):
        """Return features (B, F) of images, with a derivative: what an inversion keeps."""

    def scores(self, values):
        """Return what is shown of values (B, A): probabilities, where the values are logits."""
        return values.sigmoid()

    def decided(self, images):
        """Return the decisions (B, A) bool by which a result is judged, which may differ from what is searched by."""
        with torch.no_grad():
            return self.values(images) > 0
