"""Makes the golden cases of networks at discrete noise levels with the original code, which is not part of it.

    PYTHONPATH=GUIDED_DIFFUSION:EDM python -m tests.golden.make_discrete OUT

GUIDED_DIFFUSION, EDM: checkouts of openai/guided-diffusion (22e0df8) and NVlabs/edm (008a4e5).  OUT: the folder that
receives a folder for each case. The stored ones are in tests/golden/imagenet_activations.
"""

import json
import sys
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch

from tests.golden.fill import fill_array

GUIDED = {
    "guided_linear": ("--image_size 8 --num_channels 32 --num_res_blocks 1 --channel_mult 1,2 --num_heads 2 "
                      "--attention_resolutions 4 --learn_sigma True --class_cond True --resblock_updown True "
                      "--noise_schedule linear"),
    "guided_cosine": ("--image_size 8 --num_channels 32 --num_res_blocks 2 --channel_mult 1,1 --num_head_channels 16 "
                      "--attention_resolutions 8,4 --use_new_attention_order True --resblock_updown True "
                      "--noise_schedule cosine --diffusion_steps 500 --rescale_timesteps True"),
}
IDDPM = {"img_resolution": 8, "img_channels": 3, "label_dim": 4, "M": 200, "model_channels": 32, "channel_mult": [1, 2],
         "channel_mult_emb": 2, "num_blocks": 1, "attn_resolutions": [4], "dropout": 0.0}
LEVELS = [0.004, 0.02, 0.3, 2.0, 79.0, 5000.0]


def filled(network):
    """Fill a network's parameters by their names and return the manifest's rows."""
    rows, state = [], network.state_dict()
    learned = dict(network.named_parameters())
    for name, tensor in state.items():
        if name not in learned:
            continue
        one = tensor.dim() == 1
        rows.append({"name": name, "shape": list(tensor.shape), "dtype": "float32",
                     "mean": float(one and name.endswith("weight")),
                     "std": 0.1 if one else float(tensor[0].numel() ** -0.5)})
    network.load_state_dict({**state, **{row["name"]: torch.from_numpy(fill_array(row)) for row in rows}})
    network.eval().requires_grad_(False)
    return rows


def keep(outputs, name, module, given, output):
    """Keep a module's output; a forward hook."""
    outputs[name] = output


def write(folder, spec, rows, arrays):
    """Write a case."""
    folder.mkdir(parents=True)
    spec = {**spec, "tolerance": {"rtol": 1e-4, "atol_rel_to_max": 1e-5}}
    (folder / "case.json").write_text(json.dumps(spec, indent=1) + "\n")
    (folder / "manifest.json").write_text("[\n " + ",\n ".join(json.dumps(row) for row in rows) + "\n]\n")
    np.savez_compressed(folder / "case.npz", **{name: np.asarray(value) for name, value in arrays.items()})


def make_guided(out):
    """Write the cases of guided-diffusion: predicted images at some steps, and the outputs of blocks."""
    from guided_diffusion import script_util

    for name, flags in GUIDED.items():
        words, options = flags.split(), script_util.model_and_diffusion_defaults()
        for flag, text in zip(words[::2], words[1::2]):
            kind = type(options[flag[2:]])
            options[flag[2:]] = text == "True" if kind is bool else kind(text)
        script_util.NUM_CLASSES = 5
        network, diffusion = script_util.create_model_and_diffusion(**options)
        rows, outputs = filled(network), {}
        for block in ("input_blocks.1", "input_blocks.2", "middle_block", "output_blocks.0"):
            network.get_submodule(block).register_forward_hook(partial(keep, outputs, block))
        steps = torch.tensor([0, 7, options["diffusion_steps"] - 9])
        x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        labels = {"y": torch.tensor([4, 0, 2])} if options["class_cond"] else {}
        made = diffusion.p_mean_variance(network, x, steps, clip_denoised=False, model_kwargs=labels)
        given = {"x": x, "steps": steps.numpy(), "alphas_cumprod": diffusion.alphas_cumprod[steps.numpy()], **labels}
        spec = {"check": "imagenet_activations/guided", "model_flags": flags,
                "what": "openai/guided-diffusion: pred_xstart of p_mean_variance, and blocks, at three steps"}
        write(out / name, spec, rows, {**given, "pred_xstart": made["pred_xstart"],
                                       **{f"act_{block}": value[:1, :, ::4, 1] for block, value in outputs.items()}})


def make_iddpm(out):
    """Write the case of EDM's iDDPMPrecond: its levels, denoised images, and samples of its sampler."""
    sys.modules.update({name: MagicMock() for name in ("click", "requests", "tqdm")})  # of its command line
    from generate import edm_sampler
    from training.networks import iDDPMPrecond

    network = iDDPMPrecond(**IDDPM)
    rows = filled(network)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 8, 8, generator=generator) * torch.tensor(LEVELS)[:, None, None, None]
    labels = torch.eye(4)[torch.tensor([0, 1, 2, 3, 0, 1])]
    noise = torch.randn(5, 2, 3, 8, 8, generator=generator)
    stock = iter(noise[1:].double())
    samples = edm_sampler(network, noise[0], labels[:2], randn_like=lambda _: next(stock), num_steps=4, S_churn=2,
                          S_noise=1.003)
    spec = {"check": "imagenet_activations/iddpm", "init_kwargs": IDDPM, "num_steps": 4, "S_churn": 2.0,
            "S_noise": 1.003, "what": "NVlabs/edm: iDDPMPrecond at six noise levels, and edm_sampler with churn"}
    write(out / "iddpm_precond", spec, rows, {
        "x": x, "sigma": np.float32(LEVELS), "class_labels": labels, "u": network.u, "noise": noise,
        "denoised": network(x, torch.tensor(LEVELS), labels), "samples": samples.float(),
        "rounded": network.round_sigma(torch.tensor(LEVELS))})


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    make_guided(Path(sys.argv[1]))
    make_iddpm(Path(sys.argv[1]))
