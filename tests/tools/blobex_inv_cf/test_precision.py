"""--precision and --compile: how networks run while inverting and searching, not what is measured in the end."""

import pytest
import torch

from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.layout import Blobs
from tests.tools.blobex_inv_cf.runs import WORDS, explained, lines, metadata
from tests.tools.commands import results_of


def test_bf16_searches_otherwise_and_writes_float32_measures(here):
    results_of("blobex_inv_cf", *WORDS, "--output_dir", "bf16", "--precision", "bf16", "--max_images", "1",
               "--target_attributes", "Forward", "Right", "--n_iters_cf", "12")
    found, gan = metadata(0, "bf16"), read_blobgan("gan.ckpt")
    moved = (found["blob_optim"]["features"] - metadata()["blob_optim"]["features"][:1]).abs()
    assert 0 < moved.mean() < 0.1
    pairs = [(found["init_scores"], found["blob_optim"])]
    pairs += [(found[f"att_{c}"]["final_scores"], found[f"att_{c}"]["blob_cf"]) for c in (0, 3)]
    for stored, blobs in pairs:
        assert torch.allclose(stored, explained(gan.render(Blobs(**blobs))).sigmoid(), atol=1e-4)
    for line in lines("bf16"):
        assert (line["outcome"] == "flipped") == (float(line["logit"]) > 0)


@pytest.mark.long
def test_a_compiled_generator_finds_what_the_plain_one_finds(here):
    results_of("blobex_inv_cf", *WORDS, "--output_dir", "compiled", "--compile")
    same = [one["outcome"] == two["outcome"] and abs(int(one["evaluations"]) - int(two["evaluations"])) <= 2
            for one, two in zip(lines(), lines("compiled"), strict=True)]
    assert sum(same) >= 0.95 * len(same)
