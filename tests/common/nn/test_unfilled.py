"""Networks without values: the tensors of those with values, and nothing slow is imported to make them."""

import subprocess
import sys

import pytest

from common.explained.segmentation import DeepLabV3
from common.networks.adm import EDMPrecond
from common.networks.adm_config import AdmConfig
from common.networks.adm_discrete import DiscretePrecond
from common.networks.arcface import ArcFace
from common.networks.blobgan.encoder_files import EncoderConfig
from common.networks.decision_networks import DecisionConfig, build_decision_model
from common.networks.inception import InceptionV3
from common.networks.ncsnpp import NCSNpp, NetworkConfig
from common.networks.psp_encoder import LastLayerIntoWPlus
from common.networks.quantile_encoder import QuantileEncoderConfig, build_encoder
from common.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from common.nn.unfilled import unfilled
from tests.common.networks.adm_makers import SMALL
from tests.common.networks.blobgan.makers import small
from tests.tools.commands import ROOT

NETWORKS = {
    "adm": lambda: EDMPrecond(AdmConfig(**SMALL)),
    "arcface": ArcFace,
    "blobgan generator": lambda: small().generator(),
    "blobgan layouts": lambda: small().layout_net(),
    "deeplab": lambda: DeepLabV3(50, 3, True),
    "densenet": lambda: build_decision_model(DecisionConfig("densenet121", ("a", "b"), (64, 128))),
    "encoder resnet": lambda: EncoderConfig(32, 2.0, 12, "resnet", (4, 4, 4, 4)).build(),
    "encoder": lambda: EncoderConfig(32, 2.0, 12, channels=(4, 4, 4, 4)).build(),
    "inception": InceptionV3,
    "ncsnpp": lambda: NCSNpp(NetworkConfig(nf=8, num_res_blocks=1)),
    "psp": lambda: LastLayerIntoWPlus(50, True, 3),
    "quantile encoder": lambda: build_encoder(QuantileEncoderConfig(40, ((16, 1), (16, 1)), 16)),
    "small": lambda: build_decision_model(DecisionConfig("small", ("a", "b"), (16, 32), width=4)),
    "stylegan2": lambda: StyleGAN2(StyleGAN2Config((5, 5, 5), style_dim=6, num_mapping=2)),
}


def tensors_of(network):
    """Return {name: (shape, type)} of all that a network holds."""
    held = [*network.named_parameters(), *network.named_buffers()]
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in held}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_without_values_has_the_tensors_of_one_with_values(name):
    with unfilled():
        empty = NETWORKS[name]()
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    assert tensors_of(empty) == tensors_of(NETWORKS[name]())


def test_levels_without_values():
    config = AdmConfig(**SMALL, precond="iddpm", M=7)
    with unfilled():
        assert DiscretePrecond(config).u.shape == (8,)


def test_making_networks_and_optimisers_imports_neither_the_compiler_nor_sympy():
    code = ("import sys, torch\n"
            "from tests.common.nn.test_unfilled import NETWORKS, unfilled\n"
            "from common.training import eager\n"
            "with unfilled():\n"
            "    for make in NETWORKS.values():\n"
            "        make()\n"
            "weights = torch.ones(3, requires_grad=True)\n"
            "adam = eager.Adam([weights])\n"
            "adam.zero_grad()\n"
            "weights.sum().backward()\n"
            "adam.step()\n"
            "adam.load_state_dict(adam.state_dict())\n"
            "assert not {'sympy', 'torch._dynamo'} & set(sys.modules)\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
