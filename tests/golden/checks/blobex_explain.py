"""Checks of area blobex: losses of encoders, steps of inversions and searches, rows of target blobs, flips."""

import numpy as np
import torch

from common.blobs.inversion import InversionWeights, inversion_objective, inversion_terms
from common.blobs.perceptual import LpipsDistance, compare
from common.blobs.rows import blob_optimiser, free_rows, put_rows, take_rows
from common.blobs.search import flip_loss, flipped, opposite, proximity
from common.formats.checkpoints import load_strictly
from common.networks.blobgan.discriminator import LayoutEncoder
from common.networks.blobgan.generator import BlobGenerator
from common.networks.blobgan.layout import Blobs, LayoutNet
from common.networks.decision import DecisionConfig, build_decision_model
from common.networks.lpips import Lpips
from tests.golden.checks.blobex_networks import rounded
from tests.golden.compare import Judged, within
from tests.golden.registry import check
from tools.train_encoder.losses import Losses, Scene
from tools.train_encoder.options import RECT
