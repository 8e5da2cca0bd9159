"""BlobGAN's training with jitter, R1, parts, FID and retention: killed at random moments, it ends as a quiet run."""

import shutil
import time

from tests.kills import end, kill
from tests.tools.commands import start_tool
from tests.tools.train_blobgan.runs import TINY, log_rows
from tests.tools.train_edm.runs import contents

KILLS, TOGETHER = 20, 5  # in all, and of one run
WORDS = (*TINY, "--max_steps", "60", "--batch_size", "8", "--stddev_rows", "4", "--accumulate", "2",
         "--log_every_n_steps", "2", "--state_every", "7", "--every_n_train_steps", "4", "--save_top_k", "2",
         "--monitor", "train/fid",
         "--log_fid_every_n_steps", "4", "--fid_n_imgs", "30", "--extractor", "small", "--reference", "digits",
         "--log_images_every_n_steps", "9", "--num_workers", "2", "--safetensors", "--quiet")


def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path):
    began = time.monotonic()
    end(start_tool("train_blobgan", tmp_path, *WORDS, "--output_dir", "whole"))
    seconds, expected = time.monotonic() - began, contents(tmp_path / "whole")
    assert sum(name.endswith(".ckpt") for name in expected) in (2, 3)
    for number in range(KILLS // TOGETHER):
        for before in kill(lambda: start_tool("train_blobgan", tmp_path, *WORDS, "--output_dir", "cut"), seconds,
                           TOGETHER, (0.2, 0.9), number):
            if not before:
                shutil.rmtree(tmp_path / "cut")
        end(start_tool("train_blobgan", tmp_path, *WORDS, "--output_dir", "cut"))
        assert contents(tmp_path / "cut") == expected
        assert log_rows(tmp_path / "cut") == log_rows(tmp_path / "whole")
        shutil.rmtree(tmp_path / "cut")
