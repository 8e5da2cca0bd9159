"""Which layer gave the first value that is not finite."""

import torch


class Anomalies:
    """Watches the outputs of all layers of some networks, and the gradients of their weights.

    networks: {name: module}.  `found()` names the first place since the last call, or is None.
    """

    def __init__(self, networks):
        self.networks, self.first = networks, None
        for name, network in networks.items():
            for path, layer in network.named_modules():
                layer.register_forward_hook(self._hook(f"{name}.{path}" if path else name))

    def _hook(self, place):
        def look(layer, inputs, output):
            tensors = output if isinstance(output, (tuple, list)) else [output]
            if self.first is None and any(isinstance(value, torch.Tensor) and not bool(value.isfinite().all())
                                          for value in tensors):
                self.first = f"the output of {place} is not finite"

        return look

    def found(self):
        """Return the first place where a value was not finite, in words."""
        first, self.first = self.first, None
        return first or next((f"the gradient of {name}.{path} is not finite"
                              for name, network in self.networks.items()
                              for path, parameter in network.named_parameters()
                              if parameter.grad is not None and not bool(parameter.grad.isfinite().all())), None)
