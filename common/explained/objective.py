"""Objectives: a word such as attribute:2 or share:road@.2,.5,.8,1 -> a signed number for each row of a model's output.

attribute:NAME  a number of (B, A): a logit.
class:NAME      one of many classes of (B, A): its logit less the log-sum-exp of the others.
share:NAME@x0,y0,x1,y1  of a segmentation (B, C, h, w), logits: the share of the class in a region of the picture, all
                of it without one. Searched by the mean of the softmax, judged by the share of the pixels whose largest
                class it is.
confidence:NAME of detections (B, N, 6), rows x0 y0 x1 y1 score class: the highest score of the class.
count:NAME      of detections: how many there are. Searched by the sum of the scores, judged by how many are above 1/2.

A value is above 0 where the number is above the threshold. Shares and confidences are compared as logits; a count by
its difference, times COUNT_SCALE.
"""

import re
from dataclasses import dataclass
from typing import Optional, Tuple

import torch

from common.errors import InputError, nearest

COMPARED = ("share", "confidence", "count")  # with a threshold
KINDS = ("attribute", "class", *COMPARED)
THRESHOLD = 0.5
COUNT_SCALE = 8.0  # half an object more or less is the usual margin of a search, 4
SMALLEST = 1e-6  # of a share or a score whose logit is taken
CITYSCAPES = ("unlabelled", "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
              "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle",
              "bicycle")


@dataclass(frozen=True)
class Objective:
    """One objective. word: as it was given.  kind: of KINDS.  index: of the attribute or class.
    region: (x0, y0, x1, y1), shares of the picture, or None.  threshold: of the number, in its own unit."""

    word: str
    kind: str
    index: int
    region: Optional[Tuple[float, ...]] = None
    threshold: float = THRESHOLD

    def value(self, output):
        """Return the signed number (B,) of a model's output, with a derivative."""
        if self.kind == "attribute":
            return output[:, self.index]
        if self.kind == "class":
            others = torch.cat([output[:, : self.index], output[:, self.index + 1 :]], dim=1)
            return output[:, self.index] - others.logsumexp(dim=1)
        number = self.number(output)
        if self.kind == "count":
            return COUNT_SCALE * (number - self.threshold)
        return number.clamp(SMALLEST, 1 - SMALLEST).logit() - logit(self.threshold)

    def number(self, output):
        """Return what the search moves, (B,): a mean softmax, a highest score, a sum of scores."""
        if self.kind == "share":
            shares = output.softmax(dim=1)[:, self.index]
            return self._inside(shares)
        scores = self._scores(output)
        return scores.sum(dim=1) if self.kind == "count" else scores.amax(dim=1)

    def score(self, output):
        """Return what is shown and judged, (B,): a probability, a share of pixels, a confidence, a count."""
        if self.kind in ("attribute", "class"):
            return self.value(output).sigmoid()
        if self.kind == "share":
            return self._inside((output.argmax(dim=1) == self.index).to(output.dtype))
        scores = self._scores(output)
        return (scores > 0.5).sum(dim=1).to(output.dtype) if self.kind == "count" else scores.amax(dim=1)

    def decided(self, output):
        """Return the decisions (B,) bool by which a result is judged."""
        threshold = self.threshold if self.kind in COMPARED else 0.5
        return self.score(output) > threshold

    def _inside(self, shares):
        if self.region is None:
            return shares.mean(dim=(1, 2))
        height, width = shares.shape[1:]
        x0, y0, x1, y1 = self.region
        rows = slice(int(y0 * height), max(int(y0 * height) + 1, round(y1 * height)))
        columns = slice(int(x0 * width), max(int(x0 * width) + 1, round(x1 * width)))
        return shares[:, rows, columns].mean(dim=(1, 2))

    def _scores(self, output):
        """Return the scores (B, N) of detections, 0 for those of another class, and a single 0 where there are none."""
        if not output.shape[1]:
            return output.new_zeros(len(output), 1)
        return output[..., 4] * (output[..., 5].detach().round() == self.index)

    def check(self, output, where):
        """Raise InputError where a model's output is none that this objective can be taken of."""
        wanted = {"attribute": 2, "class": 2, "share": 4, "confidence": 3, "count": 3}[self.kind]
        shapes = {2: "(B, A)", 3: "(B, N, 6)", 4: "(B, C, h, w)"}
        count = output.shape[1] if wanted != 3 and output.dim() == wanted else None
        if output.dim() != wanted or (wanted == 3 and output.shape[2] != 6):
            raise InputError(f"the model returns {tuple(output.shape)}, '{self.kind}' needs {shapes[wanted]}",
                             where=where, do="Choose another --objective, or another output with --output")
        if count is not None and self.index >= count:
            raise InputError(f"the model has {count} {'classes' if self.kind != 'attribute' else 'attributes'}",
                             where=f"--objective {self.word}", do=f"Pass a number below {count}")
        if self.kind == "class" and count == 1:
            raise InputError("the model has one class, which nothing can be told from",
                             where=f"--objective {self.word}", do="Pass attribute:0")


def parse_objective(word, names=(), threshold=THRESHOLD):
    """Return the Objective of a word. names: of the classes or attributes, which may stand for their numbers."""
    kind, colon, rest = str(word).partition(":")
    name, at, region = rest.partition("@")
    if not colon or kind not in KINDS or not name or (at and kind != "share"):
        raise InputError("expected KIND:NAME, such as class:5 or share:road@0.2,0.5,0.8,1", where=f"--objective {word}",
                         do=f"Kinds are {', '.join(KINDS)}")
    spoken = [str(each).lower() for each in names]
    if name in (exact := list(map(str, names))):
        index = exact.index(name)
    elif name.lower() in spoken:
        index = spoken.index(name.lower())
    elif re.fullmatch(r"\d{1,6}", name):
        index = int(name)
    else:
        known = f"Known names: {', '.join(names[:20])}" if names else "Pass its number, or names with --class_names"
        raise InputError(f"no class or attribute '{name}'", where=f"--objective {word}",
                         do=nearest(name, names, known))
    return Objective(str(word), kind, index, _region(region, word) if at else None, threshold)


def _region(text, word):
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        x0 = y0 = x1 = y1 = -1.0
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise InputError("a region is x0,y0,x1,y1 in 0..1", where=f"--objective {word}", do="Correct the numbers")
    return x0, y0, x1, y1


def logit(share):
    """Return the logit of a share or threshold, of 0 and 1 that of SMALLEST from it."""
    return float(torch.tensor(share, dtype=torch.float64).clamp(SMALLEST, 1 - SMALLEST).logit())
