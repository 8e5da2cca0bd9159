"""Train encoders of a BlobGAN: pictures -> layout latents; on its own pictures, then on real ones."""

from common.cli import leave, run
from tools.train_encoder.options import PretrainOptions, TrainOptions

PROG = "train_encoder"
DESCRIPTION = "Encoders of a BlobGAN (OCTET): picture -> latent of the layout that the generator makes it from."
EPILOGS = {
    "pretrain": """\
examples:
  train_encoder pretrain --blobgan_weights checkpoints/blobgan_256x512.ckpt
  torchrun --nproc_per_node 4 -m tools.train_encoder pretrain --blobgan_weights blobgan.ckpt --batch_size 64""",
    "train": """\
examples:
  train_encoder train --blobgan_weights checkpoints/blobgan_256x512.ckpt --start_weights encoder_pretraining/best.pt \\
      --dataset_path bdd100k/images/100k --decision_weights checkpoints/decision_densenet.tar \\
      --lpips_weights vgg16-397923af.pth
  train_encoder train --preset rect_no_decision --schedule original --jitter --noise fresh --loss_type l2""",
}


def _command(stage, options_class, line):
    def main(options):
        from tools.train_encoder.train import train

        return train(options, f"{PROG} {stage}")

    def start(words):
        return run(main, options_class, f"{PROG} {stage}", line, EPILOGS[stage], words, stage,
                   place=lambda options: options.output_dir)

    return line, start


COMMANDS = {
    "pretrain": _command("pretrain", PretrainOptions, "on generated pictures, towards the latents they came from"),
    "train": _command("train", TrainOptions, "on real and generated pictures, by what is rendered of the latents"),
}


def cli(words=None):
    """Run the subcommand that the first word names and return its exit status."""
    from common.cli import dispatch

    return dispatch(COMMANDS, PROG, DESCRIPTION, words)


if __name__ == "__main__":
    leave(cli)
