"""Activations of a network on real ImageNet images."""
