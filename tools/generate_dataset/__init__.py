"""Generated images with the activations of the network that made them."""
