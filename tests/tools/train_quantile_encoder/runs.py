"""Tiny trainings: a generator of 16 px and D = 60, images of it, the small encoder."""


from tests.tools.commands import results_of, start_tool
from tests.tools.interval_networks import save_generator

TINY = ("--generated_train_data_path", "train/generated/1x", "--stylegan_weights", "g.pt", "--encoder_type", "small",
        "--resize_factors", "1", "4", "--batch_size", "8", "--max_steps", "24", "--board_interval", "1",
        "--state_interval", "5", "--device", "cpu", "--workers", "0", "--test_workers", "0", "--image_interval", "0")
VALIDATED = ("--val_data_path", "val/generated/1x", "--val_interval", "8")


def write_material(folder):
    """Write g.pt, train/generated/1x (24 images) and val/generated/1x (30) with latents, and real/ (6 without)."""
    from tests.tools.commands import call_tool

    save_generator(folder / "g.pt")
    for name, count, seed in (("train", 24, 1), ("val", 30, 2), ("other", 6, 3)):
        ended = call_tool("generate_ffhq", "--stylegan_path", folder / "g.pt", "--num_images", count, "--seed", seed,
                          "--output_base_dir", folder / name, "--device", "cpu", "--quiet")
        assert ended.status == 0, ended.err
    (folder / "real").mkdir()
    for path in (folder / "other" / "generated" / "1x").glob("img_*.png"):
        path.rename(folder / "real" / path.name)


def train(*words, out="out"):
    """Train in this process; returns the results."""
    return results_of("train_quantile_encoder", *TINY, "--exp_dir", out, *words)


def start(folder, *words):
    """Start a training in a process of its own, in a folder."""
    return start_tool("train_quantile_encoder", folder, *TINY, *words)
