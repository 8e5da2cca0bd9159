"""Decision models as explained models: each attribute, or each of many classes, is an objective."""

import torch

from common.explained.model import Explained
from common.files import fingerprint


class Classifier(Explained):
    """A DecisionModel. The value of an attribute is its logit; that of a class its logit less the log-sum-exp of the
    others, whose sigmoid is the softmax's probability."""

    def __init__(self, model, path, chosen=None):
        """chosen: numbers of the attributes or classes that are objectives, None for all."""
        self.model, self.size = model, tuple(model.size)
        self.chosen = list(range(len(model.names))) if chosen is None else list(chosen)
        self.names = tuple(model.names[number] for number in self.chosen)
        self.description = {"kind": model.kind, "arch": model.config.arch, **fingerprint(path)}

    def values(self, images):
        """See Explained."""
        logits = self.model.logits(images)
        if self.model.kind == "classes":
            others = logits[:, None].expand(-1, logits.shape[1], -1)
            own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
            logits = logits - others.masked_fill(own, -torch.inf).logsumexp(dim=2)
        return logits[:, self.chosen]

    def features(self, images):
        """See Explained."""
        return self.model.features(images)
