"""The jobs that are disturbed: every command that writes, and those besides that test_every_command has no time for."""

import shutil

from tests.tools import every_command
from tests.tools.commands import call_tool
from tests.tools.every_command import COMMANDS, CPU, EVALUATE, RENDERED, SMALL, Command

OUTPUTS = ("--outputs", "one=in/outputs.npz")
CALIBRATED = ("--calibration", "in/calibrated", *OUTPUTS)
MORE = {
    "qc_ncsn eval dsm": Command("qc_ncsn", ("eval", "dsm", *EVALUATE, "--dataset", "in/digits", "--num_images", "2",
                                            "--total_repeat", "1", "--nl", "2"), "out/dsm"),
    "qc_ncsn convert": Command("qc_ncsn", ("convert", "--checkpoint", "in/score.pth", "--output",
                                           "out/score.safetensors"), "out"),
    "compute_fid fast": Command("compute_fid", ("fast", "in/images", "--reference", "in/real", "--output_dir", "out",
                                                *SMALL), "out"),
    "calibrate_rcps apply": Command("calibrate_rcps", ("apply", *CALIBRATED, "--output_dir", "out"), "out"),
    "calibrate_rcps figures": Command("calibrate_rcps", ("figures", *CALIBRATED, "--output_dir", "out"), "out"),
    "calibrate_rcps endpoints": Command(
        "calibrate_rcps", ("endpoints", *CALIBRATED, "--stylegan_path", "in/stylegan.pt", "--image_index", "1",
                           "--output_dir", "out", *CPU), "out"),
    "calibrate_rcps experiments": Command(
        "calibrate_rcps", ("experiments", *CALIBRATED, "--experiment", "importance", "--difficulty_level", "one",
                           "--output_dir", "out"), "out"),
    "calibrate_rcps make-synthetic": Command(
        "calibrate_rcps", ("make-synthetic", "--base_dir", "out", "--num_images", "20", "--num_dims", "5"), "out"),
    "calibrate_rcps simulate": Command(
        "calibrate_rcps", ("simulate", "-n", "50", "--repetitions", "5", "--output_dir", "out"), "out"),
    "evaluate_cf compare": Command("evaluate_cf", ("compare", "in/evaluated", "in/evaluated_too", "--output_dir",
                                                   "out"), "out"),
    "evaluate_cf encoder": Command("evaluate_cf", ("encoder", "--encoder_weights", "in/layouts.pt", *RENDERED,
                                                   "--output_dir", "out"), "out"),
}
JOBS = {**COMMANDS, **MORE}
LEFT_OUT = {
    "prints": {"calibrate_rcps validate", "extract_subimages inspect", "setup_fid list", "setup_fid show",
               "setup_fid compare", "setup_fid cache"},
    "reads the folder that it writes, after other commands": {
        "qc_ncsn eval encode", "qc_ncsn eval fidis", "qc_ncsn eval prdc", "qc_ncsn eval nfe", "qc_ncsn compare"},
    "one picture, written at once": {"extract_subimages items"},
}


def make_inputs(folder):
    """Write the inputs of all jobs below a folder `in`."""
    from common.networks.blobgan.encoder_files import EncoderConfig, write_encoder

    place = every_command.make_inputs(folder)
    ended = call_tool("calibrate_rcps", "--outputs", f"one={place / 'outputs.npz'}", "--dims", "all", "--total_runs", 2,
                      "--output_dir", place / "calibrated", "--quiet")
    assert ended.status == 0, ended.err
    shutil.copytree(place / "evaluated", place / "evaluated_too")
    config = EncoderConfig(16, 2, 12, channels=(8, 8, 8))
    write_encoder(place / "layouts.pt", config, config.build().state_dict(), None, None, 1)
