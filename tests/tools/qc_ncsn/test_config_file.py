"""`--config my.yml`: a configuration of one's own, in every command that takes one."""

from tests.tools.qc_ncsn.runs import call, checkpoints_equal, good

MINE = "preset: u_digits\nmodel: {nf: 4, ch_mult: [1], attn_resolutions: []}\ntraining: {batch_size: 4, n_iters: 3}\n"
WORDS = ("--config.model.nf=4", "--config.model.ch_mult=1", "--config.model.attn_resolutions=()", "--bs", "4",
         "--n_iters", "3")
CPU = ("--device", "cpu")
SAMPLE = ("sample", *CPU, "--method", "multistep", "--num_steps", "2", "--num_samples", "2")


def test_a_file_trains_as_its_preset_with_the_same_entries_overridden(tmp_path):
    (tmp_path / "my.yml").write_text(MINE)
    good("train", "--config", tmp_path / "my.yml", *CPU, "--workdir", tmp_path / "a")
    good("train", "--config", "u_digits", *WORDS, *CPU, "--workdir", tmp_path / "b")
    assert checkpoints_equal(tmp_path / "a", tmp_path / "b")
    assert good("train", "--config", tmp_path / "my.yml", *CPU, "--workdir", tmp_path / "a")["step"] == 3


def test_a_changed_file_is_noticed_and_the_command_line_goes_before_it(tmp_path):
    path, work = tmp_path / "my.yml", tmp_path / "w"
    path.write_text(MINE)
    good("train", "--config", path, *CPU, "--workdir", work)
    path.write_text(MINE.replace("n_iters", "snapshot_freq: 2, n_iters"))  # read again, though the words are the same
    ended = call("train", "--config", path, "--workdir", work)
    assert "has training.snapshot_freq 100, this command has 2" in ended.err
    path.write_text(MINE.replace("n_iters: 3", "n_iters: 2"))
    assert good("train", "--config", path, *CPU, "--workdir", work, "--n_iters", "5")["step"] == 5


def test_a_file_that_contradicts_the_checkpoint_is_refused_and_its_sampling_section_acts(tmp_path):
    path, work = tmp_path / "my.yaml", tmp_path / "w"
    path.write_text(MINE)
    good("train", "--config", path, *CPU, "--workdir", work)
    path.write_text(MINE + "sampling: {method: heun, num_steps: 3}\neval: {num_samples: 2}\n")
    results = good("sample", "--config", path, *CPU, "--workdir", work)
    assert (results["method"], results["nfe"], results["num_samples"]) == ("heun", 5, 2)
    path.write_text(MINE.replace("nf: 4", "nf: 4, sigma_max: 10"))
    for command in (SAMPLE, ("eval", "nll", "--num_images", "1"), ("eval", "encode", "--encode_dataset")):
        ended = call(*command, "--config", path, "--workdir", work, "--device", "cpu")
        assert ended.status == 2, ended.err
        assert "was trained with model.sigma_max 50.0, this command's configuration has 10.0" in ended.err
    convert = ("convert", "--checkpoint", work / "checkpoints-meta" / "checkpoint.pth", "--output",
               tmp_path / "c.safetensors")
    assert "was trained with model.sigma_max 50.0" in call(*convert, "--config", path).err
    path.write_text(MINE)
    good(*convert, "--config", path)
    ended = call(*SAMPLE, "--config", tmp_path / "none.yml", "--workdir", work)
    assert (ended.status, "none.yml" in ended.err) == (2, True)
