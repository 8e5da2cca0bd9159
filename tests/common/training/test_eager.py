"""The optimisers are torch.optim's, to the last bit and in their state dicts."""

import pytest
import torch

from common.training import eager

WAYS = {"fused": {"fused": True}, "foreach": {"foreach": True}, "plain": {}}


def trained(kind, **flags):
    """Return (weights, state dict) after four updates, half of them after the state was written and read."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 3)

    def make():
        return kind([{"params": [layer.weight], "lr": 0.1}, {"params": [layer.bias]}], lr=0.02, betas=(0.8, 0.9),
                    weight_decay=0.1, **flags)

    optimiser = make()
    for step in range(4):
        if step == 2:
            state, optimiser = optimiser.state_dict(), make()
            optimiser.load_state_dict(state)
        optimiser.zero_grad()
        layer(torch.ones(2, 5)).square().sum().backward()
        optimiser.step()
    return layer.weight.detach(), optimiser.state_dict()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_updates_and_states_are_those_of_torch(name, way):
    own, theirs = (trained(getattr(place, name), **WAYS[way]) for place in (eager, torch.optim))
    assert torch.equal(own[0], theirs[0])
    assert own[1]["param_groups"] == theirs[1]["param_groups"]
    for number, state in theirs[1]["state"].items():
        assert all(torch.equal(value, own[1]["state"][number][key]) for key, value in state.items())


def test_no_gradient_is_recorded_of_an_update():
    weights = torch.ones(3, requires_grad=True)
    optimiser = eager.AdamW([weights], lr=0.1)
    weights.square().sum().backward()
    optimiser.step()
    assert weights.grad_fn is None
    assert torch.is_grad_enabled()


def test_it_is_an_optimiser_of_torch_with_its_name():
    assert issubclass(eager.Adam, torch.optim.Adam)
    assert eager.Adam.__name__ == "Adam"
