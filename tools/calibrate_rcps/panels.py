"""The pictures of the notebooks' class: codes, ends of sets and photographs, by the pSp checkpoint's decoder."""

import numpy as np

from common.rcps.outputs import LOWER, POINT, TRUTH, UPPER
from common.style_space import style_offsets
from tools.calibrate_rcps.rendering import (
    PSP,
    Renderer,
    calibrated_ends,
    difference,
    end_codes,
    group_panels,
    groups_of,
    panel,
)

CENTRED = ("mean", "min_max")  # schemes by which the stored mean is added


class RunnerPictures:
    """What RCPS_Results_Runner renders and encodes; networks are loaded by the first call that needs them."""

    _renderer = _encoder = None

    def splice_latent_code(self, flat):
        """Return a code (D,) as the list of its style vectors, each (1, 1, width)."""
        widths = np.asarray(self.style_dims, int)[1:] if len(self.style_dims) else self.renderer.network.widths
        offsets = style_offsets(widths)
        return [np.asarray(flat)[None, None, start:stop] for start, stop in zip(offsets, offsets[1:])]

    def tensor2im(self, var):
        """Return an image (3, H, W) in [-1, 1] as uint8 (H, W, 3), truncated as the original does."""
        from common.images.pixels import to_uint8

        return to_uint8(var[None], "dmd2")[0]

    @property
    def renderer(self):
        """The generator, loaded when it is first needed."""
        if self._renderer is None:
            self._renderer = Renderer(self.tree.pretrained / PSP, self.device)
            self._renderer.check(self._levels[0].outputs.num_dims)
        return self._renderer

    @property
    def encoder(self):
        """The QuantileEncoderFile, loaded when it is first needed."""
        if self._encoder is None:
            from common.device import pick_device
            from common.networks.quantile_encoder_weights import load_quantile_encoder

            self._encoder = load_quantile_encoder(self.ckpt_path, pick_device(self.device))
        return self._encoder

    def get_image_from_style_vectors(self, flat):
        """Return the picture uint8 (256, 256, 3) of a code (D,)."""
        return self.renderer.pictures(flat)[0]

    def show_outputs_across_difficulty_levels(self, difficulty_level, run_index=-1, image_index=None,
                                              style_vectors=None):
        """Return (panel (256, 1536, 3), [panel (256, 768, 3)] of each group) uint8 of one image.

        The panel: degraded rendering of the truth, rendering, point, lower, upper, difference; a group's: low, high,
        difference.  style_vectors: (3, D) lower, point, upper of a photograph of one's own, in place of image_index.
        """
        from common.datasets.degradations import degrade

        level, lambda_hat = self._level(difficulty_level), self._lambda(difficulty_level, run_index)
        if style_vectors is None:
            image_index = 0 if image_index is None else image_index
            point, low, high = self._ends(level, image_index, lambda_hat)
            truth = np.float64(level.outputs.row(TRUTH, image_index))
        else:
            point, low, high = self._own_ends(np.asarray(style_vectors, np.float64), lambda_hat)
            truth = point
        ends = end_codes(point, self.disent_dims, low, high)
        rendering, middle, lower, upper = self.renderer.pictures(np.stack([truth, point, *ends]))
        degraded = degrade(rendering, self.difficulty_to_resize_factor[difficulty_level])
        return (panel([degraded, rendering, middle, lower, upper, difference(lower, upper)]),
                group_panels(self.renderer, point, self.disent_dims, low, high))

    def interpolate_quantiles_along_each_factor(self, difficulty_level, image_index=None, run_index=-1):
        """Return [uint8 (256, 256 * 11, 3)] for each group: from its lower to its upper ends in steps of a tenth."""
        level, lambda_hat = self._level(difficulty_level), self._lambda(difficulty_level, run_index)
        point, low, high = self._ends(level, 0 if image_index is None else image_index, lambda_hat)
        found = []
        for places in groups_of(self.disent_dims).values():
            first, last = end_codes(point, self.disent_dims, low, high, places)
            found.append(panel(self.renderer.pictures(np.stack([
                first + weight * (last - first) for weight in np.linspace(0, 1, 11, dtype=np.float32)]))))
        return found

    def decode_single_image_across_difficulty_levels(self, im, resize_factor, calib_lambda):
        """Return uint8 (256, 1280, 3): degraded input, the input at factor 1, point, lower and upper ends.

        im: uint8 (H, W, 3), or a tensor (3, H, W) in [-1, 1].
        """
        from common.datasets.degradations import degrade

        image = self.tensor2im(im) if hasattr(im, "detach") else im
        source = degrade(image, resize_factor)
        point, low, high = self._own_ends(self.encode(source), calib_lambda)
        pictures = self.renderer.pictures(np.stack([point, *end_codes(point, self.disent_dims, low, high)]))
        return panel([source, degrade(image, 1), *pictures])

    def decode_single_image(self, im):
        """Return decode_single_image_across_difficulty_levels of the first level, with its calibrated lambda."""
        return self.decode_single_image_across_difficulty_levels(im, self.resize_factors[0],
                                                                 self._lambda(self.difficulty_levels[0], -1))

    def encode(self, pixels):
        """Return the encoder's (3, D) float64, lower, point and upper, of a picture uint8 (256, 256, 3)."""
        import torch

        from common.datasets.degradations import network_input

        network = self.encoder.network
        with torch.no_grad():
            return network(network_input(pixels)[None].to(next(network.parameters()).device))[0].double().cpu().numpy()

    def _own_ends(self, values, lambda_hat):
        """Return (point (D,), low (K,), high (K,)) of values (3, D) as the encoder gives them."""
        statistics = self._encoder.statistics if self._encoder is not None else None
        mean = self.mean_style_vector if statistics is None else statistics.mean
        centre = 0.0 if self.norm_scheme not in CENTRED or not len(mean) else np.asarray(mean, np.float64)
        return calibrated_ends(values + centre, self.disent_dims, (lambda_hat,))

    def _ends(self, level, index, lambda_hat):
        """Return (point (D,), low (K,), high (K,)) of an image of a level."""
        values = np.stack([np.float64(level.outputs.row(key, index)) for key in (LOWER, POINT, UPPER)])
        if self.norm_scheme in CENTRED:
            values += level.outputs.vector("mean", np.arange(level.outputs.num_dims)).astype(np.float64)
        return calibrated_ends(values, self.disent_dims, (lambda_hat,))
