"""One training in one folder: what it starts from, its step, its files and its results."""

from collections import deque
from pathlib import Path

import numpy as np
import torch

from common import console, parallel
from common.device import autocast
from common.errors import InputError
from common.files import remove_leftovers
from common.networks.quantile_encoder_weights import save_quantile_encoder
from common.nn.batch_norm import share_statistics
from common.training import eager
from common.training.keep import Periodic
from common.training.log import Log
from common.training.loop import Loop
from common.training.optim import Optimiser, Schedule
from common.training.plan import Plan
from common.training.ranger import Ranger
from common.training.state import TrainingState
from tools.train_quantile_encoder.checks import model_name
from tools.train_quantile_encoder.images import Batches
from tools.train_quantile_encoder.losses import IMAGE, Losses
from tools.train_quantile_encoder.pictures import draw_predictions
from tools.train_quantile_encoder.validate import Validation

RECENT = 50  # steps whose mean loss is the result
ADVICE = "Use a smaller --learning_rate, a --warmup, or --precision fp32"


class EncoderTraining:
    """One run in one folder. Making one checks what it starts from; `loop` does the work.

    material: Material.  overwrite: ignore the folder's earlier state.  done: steps completed.
    """

    def __init__(self, options, material, device, overwrite=False):
        self.options, self.material, self.device, self.folder = options, material, device, Path(options.exp_dir)
        layout = torch.contiguous_format if device.type == "mps" else torch.channels_last
        self.network = material.network.to(device, memory_format=layout)
        share_statistics(self.network)
        self.optimiser = make_optimiser(self.network, options, device)
        self.state = TrainingState({"encoder": self.network}, {"encoder": self.optimiser}, {})
        self.centre = torch.from_numpy(material.centre).to(device)
        self.dims = torch.tensor(material.dims, device=device) if options.use_quantile_loss_mask else None
        self.losses = Losses(options, material.generator, material.lpips, material.arcface)
        targets = any(getattr(options, flag) for flag in IMAGE.values())
        self.batches = Batches(material.generated, material.real, options.generated_share, material.probabilities,
                               material.centre, options.seed, options.batch_size, targets)
        self.validation = material.val and Validation(material.val, material.dims, material.centre, options.alpha,
                                                      options.test_batch_size, options.test_workers, device)
        self.log = Log(self.folder, options.tensorboard, options.use_wandb)
        self.done, self.recent = 0, deque(maxlen=RECENT)
        self.validated, self.measured = None, {}  # the step of the last validation, and its numbers
        if not overwrite and self.state_path.exists():
            self._resume()

    @property
    def state_path(self):
        """The file that a killed run resumes from."""
        return self.folder / "checkpoint.pth"

    def _resume(self):
        self.done, recent = self.state.load(self.state_path, "Use the flags of that training, another --exp_dir, or "
                                            "--overwrite to start over")
        if self.done > self.options.max_steps:
            raise InputError(f"this run is already at step {self.done:,}",
                             where=f"--max_steps {self.options.max_steps}",
                             do="Use a larger number, another --exp_dir, or --overwrite to start over")
        self.recent.extend(recent if isinstance(recent, list) else [])
        console.say(f"resuming from {self.state_path} (step {self.done:,})")

    def loop(self):
        """Run the remaining steps and return the results."""
        options = self.options
        for name in ("checkpoints", "images", "models") if parallel.is_main() else ():
            remove_leftovers(self.folder / name)  # what a killed run was writing
        plan = Plan(1, options.max_steps, options.batch_size, options.board_interval, (options.state_interval,),
                    options.accumulate, options.workers)
        evaluate = (options.val_interval, self._validate) if self.validation else (0, None)
        self.trainer = Loop(plan, self.batches.draw, self._step, self._save, self.log, {"encoder": self.optimiser},
                            products=self._products(), evaluate=evaluate, device=self.device, advice=ADVICE,
                            done=self.done, saved=self.done or None)
        self.trainer.run()
        return self._conclude()

    def _step(self, step, parts):
        """One optimiser step; returns the means of its losses, learning rate and gradient norm."""
        sums, rate, norm = self.trainer.update("encoder", parts, self._loss)
        values = {name: value / self.options.batch_size for name, value in zip(self.losses.names, sums.tolist())}
        self.recent.append(values["loss"])
        return {**values, "lr": rate, "grad_norm": norm}

    def _loss(self, part):
        inputs, targets, truth, weights = part.draws
        with autocast(self.device, self.options.precision):
            predictions = self.network(inputs, self.dims)
        truth = truth if self.dims is None else truth[:, self.dims]
        return self.losses(predictions.float(), targets, truth, weights, self.centre)

    def _validate(self, step):
        self.validated, self.measured = step, self.validation(self.network)
        return self.measured

    def _save(self, step):
        self.state.save(self.state_path, step, list(self.recent))

    def _products(self):
        """Return the periodic outputs: encoders and pictures."""
        options = self.options
        return [Periodic(options.save_interval, lambda step: self.folder / "checkpoints" / f"iteration_{step}.pt",
                         self._write_encoder),
                Periodic(options.image_interval, lambda step: self.folder / "images" / f"step_{step:07d}.png",
                         lambda path, step: self._draw(path))]

    def _write_encoder(self, path, step):
        """Write the encoder in the published container."""
        options = self.options
        path.parent.mkdir(parents=True, exist_ok=True)
        opts = {name: getattr(options, name) for name in ("encoder_type", "encoder_size", "output_size", "alpha",
                                                          "learning_rate", "batch_size", "optim_name", "mse", "seed",
                                                          "start_from_latent_avg", "use_style_vector_average")}
        opts |= {"resize_factors": ",".join(options.resize_factors), "step": step,
                 "resize_probabilities": ",".join(options.resize_probabilities)}
        save_quantile_encoder(path, self.network, self.material.statistics, self.material.latent_avg.cpu(), opts)

    def _draw(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_predictions(path, self.network, self.material.generator, self.material.val or self.material.generated,
                         self.centre)

    def _conclude(self):
        """Write the encoder and a picture of its predictions, and return the results."""
        options, path = self.options, self.folder / "models" / model_name(self.options)
        if self.validation and self.validated != options.max_steps:
            self._validate(options.max_steps)
        results = {}
        if parallel.is_main():
            self._write_encoder(path, options.max_steps)
            self._draw(self.folder / "predictions.png")
            results = {"steps": options.max_steps, "training_loss": float(np.mean(self.recent)),
                       "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
                       "images": len(self.material.generated), "damaged": self._damaged(), **self.measured,
                       "images_per_second": self.trainer.images_per_second, "encoder": str(path)}
            self._say(results)
        parallel.barrier()
        return results

    def _damaged(self):
        folders = (self.material.generated, self.material.real)
        return sum(folder.damaged for folder in folders if folder is not None)

    def _say(self, results):
        console.show_table(str(self.folder), ["steps", "training loss", "parameters", "images/s"],
                           [[f"{results['steps']:,}", f"{results['training_loss']:.4f}", f"{results['parameters']:,}",
                             f"{results['images_per_second']:.3g}"]])
        if self.validation:
            names = ("r2", "coverage", "width", "crossing", "lambda", "calibrated_coverage", "calibrated_width")
            rows = [[f"{factor}x", *(f"{results[key]:.3f}" if (key := f"{name}_{factor}x") in results else "-"
                                     for name in names)] for factor in self.material.factors]
            console.show_table(f"{len(self.material.val):,} images, {len(self.material.dims)} coordinates; widths in "
                               "standard deviations", ["factor", *(name.replace("_", " ") for name in names)], rows)
        if results["damaged"]:
            console.say(f"warning: {results['damaged']:,} unreadable images were replaced by other draws")
        console.say(f"next: python -m tools.generate_outputs_npz --base_dir {self.folder.parent} --exp_name "
                    f"{self.folder.name} --model_name models/{model_name(self.options)} --resize_factor R "
                    "--image_dir IMAGES --output_path OUTPUTS.npz")


def make_optimiser(network, options, device):
    """Return the optimiser with the schedule that the flags ask for."""
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if options.optim_name == "ranger":
        inner = Ranger(weights, lr=options.learning_rate)
    else:
        inner = eager.Adam(weights, lr=options.learning_rate, fused=device.type in ("cpu", "cuda"))
    cosine = max(options.max_steps - 1, 1) if options.lr_decay == "cosine" else 0
    return Optimiser(inner, Schedule(options.learning_rate, options.warmup, cosine=cosine, floor=options.lr_floor))
