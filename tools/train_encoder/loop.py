"""One training in one folder: what it starts from, its step, its files and its results."""

import math
from pathlib import Path

import torch

from common import console, parallel
from common.blobs.quality import Quality, reconstruct
from common.datasets.prepared import Rows, to_network
from common.device import autocast
from common.errors import InputError
from common.networks.blobgan.encoder_files import read_encoder, write_encoder
from common.training import eager
from common.training.keep import Periodic
from common.training.log import Log
from common.training.loop import Loop
from common.training.optim import Optimiser, Schedule
from common.training.plan import Plan
from common.training.state import TrainingState, interned, on_cpu
from tools.train_encoder.batches import HELD_OUT, Batches, Draws, Renderer
from tools.train_encoder.losses import Losses, Scene
from tools.train_encoder.options import TrainOptions, mlp_index
from tools.train_encoder.pictures import SHOWN, draw_grid

ADVICE = "Use a smaller --lr, or --precision fp32"
STATE, RESULTS = "state.pth", "val_images_results.json"


class EncoderTraining:
    """One run in one folder. Making one checks what it starts from; `loop` does the work.

    material: Material.  overwrite: ignore the folder's earlier state.  done: steps completed.
    """

    def __init__(self, options, material, device, overwrite=False):
        self.options, self.material, self.device, self.folder = options, material, device, Path(options.output_dir)
        self.stage = "train" if isinstance(options, TrainOptions) else "pretrain"
        self.gan, self.idx = material.gan, mlp_index(options)
        self.network = material.network.to(device, memory_format=torch.channels_last)
        self.optimiser = make_optimiser(self.network, options, device)
        self.state = TrainingState({"encoder": self.network}, {"encoder": self.optimiser}, {})
        self.losses = Losses(material.weights, getattr(options, "loss_type", "l1"), material.perceptual,
                             material.decision)
        rows = material.real and Rows(material.real, options.seed, options.batch_size)
        self.batches = Batches(options, self.gan, self.losses.sides(), rows)
        self.jitters = self.gan.config.jitter
        self.log = Log(self.folder, options.tensorboard, options.wandb)
        self.done, self.best = 0, {"loss": math.inf, "step": 0}
        self.validated = None  # the step of the last held-out loss
        if not overwrite and (self.folder / STATE).exists():
            self._resume()

    def _resume(self):
        path = self.folder / STATE
        self.done, extra = self.state.load(path, "Use the flags of that training, another --output_dir, or --overwrite")
        try:
            self.best = {"loss": float(extra["loss"]), "step": int(extra["step"])}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("its record of the held-out loss is damaged", where=path,
                             do="Use another --output_dir, or --overwrite to start over") from error
        best = self.folder / "best.pt"
        if 0 < self.best["step"] < self.done and not best.exists():  # that of the last step is written again
            raise InputError("it is gone, and was the best so far", where=best,
                             do="Put it back, or pass --overwrite to start over")
        if self.done > self.options.n_iters:
            raise InputError(f"this run is already at step {self.done:,}", where=f"--n_iters {self.options.n_iters}",
                             do="Use a larger number, another --output_dir, or --overwrite to start over")
        console.say(f"resuming from {path} (step {self.done:,})")

    def loop(self):
        """Run the remaining steps and return the results."""
        options = self.options
        if not self.done:
            self.material.begin()
        plan = Plan(1, options.n_iters, options.batch_size, options.log_every, (options.save_every,),
                    options.accumulate, options.num_workers)
        products = [Periodic(options.log_imgs_every, lambda step: self.folder / f"step_{step}.jpg", self._draw),
                    Periodic(options.save_every, lambda step: self.folder / "last.pt", self._write,
                             done=lambda step: False)]
        self.trainer = Loop(plan, self.batches.draw, self._step, self._save, self.log, {"encoder": self.optimiser},
                            products=products, evaluate=(options.save_every, self._validate), device=self.device,
                            advice=ADVICE, done=self.done, saved=self.done or None)
        self.trainer.run()
        return self._conclude()

    def _step(self, step, parts):
        """One optimiser step; returns the means of its losses, learning rate and gradient norm."""
        sums, rate, norm = self.trainer.update("encoder", parts, self._loss)
        return {**self._named(sums, self.options.batch_size), "lr": rate, "grad_norm": norm}

    def _named(self, sums, count):
        return {name: value / count for name, value in zip(self.losses.names, sums.tolist())}

    def _loss(self, part):
        return self._losses_of(Draws.unpacked(part.draws))

    def _losses_of(self, draws):
        """Return (objective, values) of pictures, summed over the rows."""
        renderer = Renderer(self.gan, self.jitters, draws)
        scene = self.scene(draws, renderer)
        return self.losses(scene, self.encode, self._decode, lambda blobs, sides: self._render(renderer, blobs, sides))

    def encode(self, pictures):
        """Return the latents (N, L) of pictures (N, 3, H, W)."""
        with autocast(self.device, self.options.precision):
            return self.network(pictures.contiguous(memory_format=torch.channels_last)).float()

    def _decode(self, latents):
        return self.gan.decode(latents, self.idx)

    def _render(self, renderer, blobs, roles):
        with autocast(self.device, self.options.precision):
            return renderer(blobs, roles).float()

    @torch.no_grad()
    def scene(self, draws, renderer):
        """Return the Scene of draws: generated pictures with what they were made from, real ones beside."""
        pictures, latents, blobs = {}, None, None
        if draws.z is not None:
            net = self.gan.layout_net
            last = net.latent(draws.z)
            if draws.truncation is not None:
                last = torch.lerp(last, self.gan.mean_latent(), draws.truncation[:, None])
            blobs = self.gan.decode(last)
            pictures["fake"] = self._render(renderer, blobs, ["target"])
            latents = last if self.idx == -1 else net.mlp[-1](last) if self.idx in ("raw", len(net.mlp)) \
                else net.latent(draws.z, self.idx)
        if draws.real is not None:
            pictures["real"] = draws.real
        return Scene(pictures, latents, blobs)

    def _held_out(self, rows):
        """Return (names, Draws on the device) of held-out rows; unreadable pictures are left out."""
        images, real = self.material.held_out, None
        names = [f"generated_{row:06d}" for row in rows]
        if images is not None:
            pixels, good = images.read(rows)
            rows = [row for row, is_good in zip(rows, good) if is_good]
            names, real = [str(images.title(row)) for row in rows], to_network(pixels[good])
        if not rows:
            return names, None
        return names, self._on_device(self.batches.draws(HELD_OUT, rows, real).packed())

    def _on_device(self, parts):
        return Draws.unpacked(tuple(value.to(self.device) for value in parts))

    def _batches_of(self, wanted):
        """Yield this process's batches of held-out rows, at most so many rows in all."""
        count, size = wanted if self.material.held_out is None else min(wanted, len(self.material.held_out)), \
            self.options.test_batch_size
        yield from parallel.shard([list(range(first, min(first + size, count))) for first in range(0, count, size)])

    @torch.no_grad()
    def _validate(self, step):
        """Return the held-out loss, and note whether it is the best so far; called in all processes."""
        sums = torch.zeros(len(self.losses.names) + 1, device=self.device)
        for rows in self._batches_of(self.options.val_images):
            names, draws = self._held_out(rows)
            if names:
                values = self._losses_of(draws)[1]
                sums += torch.stack([*values, torch.full_like(values[0], len(names))])
        *sums, count = parallel.sum_across(sums).cpu()
        if not count:
            raise InputError(f"none of {self.options.val_images:,} held-out pictures can be read",
                             where=self.material.held_out.name, do="Restore them, or pass others with --val_path")
        values = self._named(torch.stack(sums), float(count))
        if not math.isfinite(values["loss"]):
            raise InputError(f"the held-out loss is no longer finite at step {step:,}", where=self.folder, do=ADVICE)
        self.validated = step
        if values["loss"] < self.best["loss"]:
            self.best = {"loss": values["loss"], "step": step}
        return {f"val_{name}": value for name, value in values.items()}

    def _save(self, step):
        self.state.save(self.folder / STATE, step, dict(self.best))

    def _write(self, path, step):
        """Write last.pt, and best.pt where this step's held-out loss is the best so far."""
        rate = self.optimiser.schedule(step)
        scheduler = {"last_epoch": step, "base_lrs": [self.options.lr], "_last_lr": [rate]}
        parts = interned([on_cpu(part.state_dict()) for part in (self.network, self.optimiser.optimiser)])
        for name in ("last.pt", *["best.pt"] * (self.best["step"] == step)):
            write_encoder(path.with_name(name), self.material.config, *parts, scheduler, step)

    @torch.no_grad()
    def _draw(self, path, step):
        """Write the picture of a step's own first samples."""
        count = min(SHOWN, self.options.batch_size)
        both = Batches(self.options, self.gan, ("real", "fake") if self.stage == "train" else ("fake",),
                       self.batches.images)
        draws = self._on_device(both.draw(step, 0, count))
        renderer, found = Renderer(self.gan, self.jitters, draws), {}
        scene = self.scene(draws, renderer)
        for side, pictures in scene.pictures.items():
            blobs = self._decode(self.encode(pictures))
            found[side] = (self._render(renderer, blobs, [side]), blobs)
        draw_grid(path, self.stage, scene, found)

    def _conclude(self):
        """Write what the last step still lacks and measure the encoder; returns the results."""
        options, step = self.options, self.options.n_iters
        if step % options.save_every:
            if self.validated != step:
                self._validate(step)
            if parallel.is_main():
                self._save(step)
                self._write(self.folder / "last.pt", step)
            parallel.barrier()  # all processes read best.pt
        measured = self._measure()
        results = {}
        if parallel.is_main():
            row = self.trainer.last_row  # none where the log of a finished training was removed
            results = {"steps": step, "loss": row and row["loss"], "best_step": self.best["step"],
                       "best_held_out_loss": self.best["loss"], **measured, "weights": self.gan.weights,
                       "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
                       "damaged": len(self.material.real.damaged) if self.material.real else 0,
                       "images_per_second": self.trainer.images_per_second}
            self._say(results)
        parallel.barrier()
        return results

    @torch.no_grad()
    def _measure(self):
        """Return the quality of best.pt on held-out pictures."""
        options, material = self.options, self.material
        encoder = read_encoder(self.folder / "best.pt", self.gan, self.device)
        quality = Quality(material.perceptual, material.decision)
        wanted = options.val_images if material.held_out is None else options.quality_images
        for rows in self._batches_of(wanted):
            names, draws = self._held_out(rows)
            if names:
                pictures = self.scene(draws, Renderer(self.gan, self.jitters, Draws())).pictures
                images = pictures["fake" if material.held_out is None else "real"]
                quality.add(names, images, reconstruct(self.gan, encoder, images))
        quality.gather()
        if parallel.is_main():
            quality.write(self.folder / RESULTS)
        return quality.summary()

    def _say(self, results):
        """Show what came out."""
        head = ["steps", "loss", "best step", "held-out loss", "images/s"]
        loss = "-" if results["loss"] is None else f"{results['loss']:.4g}"
        cells = [f"{results['steps']:,}", loss, f"{results['best_step']:,}",
                 f"{results['best_held_out_loss']:.4g}", f"{results['images_per_second']:.3g}"]
        console.show_table(str(self.folder), head, [cells])
        names = [name for name in ("lpips", "perceptual", "l1", "l2", "agreement", "all_decisions_kept")
                 if name in results]
        console.show_table(f"best.pt on {results['quality_images']:,} held-out pictures",
                           [name.replace("_", " ") for name in names], [[f"{results[name]:.4g}" for name in names]])
        if results["damaged"]:
            console.say(f"warning: {results['damaged']:,} unreadable pictures were replaced by other draws")
        if self.stage == "pretrain":
            console.say(f"next: python -m tools.train_encoder train --start_weights {self.folder / 'best.pt'} "
                        f"--blobgan_weights {self.options.blobgan_weights} --dataset_path IMAGES")


def make_optimiser(network, options, device):
    """Return Adam with the schedule that the flags ask for."""
    adam = eager.Adam(network.parameters(), lr=options.lr, fused=device.type in ("cpu", "cuda"))
    last = max(options.n_iters - 1, 1)
    kinds = {"cosine": {"cosine": last, "floor": options.lr_floor}, "original": {"halving": options.halve_every},
             "linear": {"fall": (0, options.n_iters / (1 - options.lr_floor))}, "constant": {}}
    return Optimiser(adam, Schedule(options.lr, **kinds[options.schedule]))
