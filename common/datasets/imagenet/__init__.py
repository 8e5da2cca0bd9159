"""Readers of ImageNet in the layouts that people have it in."""
