"""Checks of area blobex that run decision models, opened from files as users have them."""

import tempfile
from pathlib import Path

import torch

from common.networks.decision import open_decision_model
from tests.golden.registry import check


def opened(case):
    """Return the case's model, its weights in a published container."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.tar")
        torch.save({"model_state_dict": case.state_dict()}, path)
        return open_decision_model(path)


@check("blobex/decision")
@torch.no_grad()
def decision(case):
    """Features, scores before and after the sigmoid."""
    network, x = opened(case), case.tensor("x")
    features = network.features(x)
    return {"features": features, "scores": network.head(features), "proba": network(x)}


@check("blobex/decision_explain")
@torch.no_grad()
def decision_explain(case):
    """Probabilities of the actions and of the reasons."""
    network, x = opened(case), case.tensor("x")
    return {"proba": network(x), "proba_reason": network.both(x)[1].sigmoid()}
