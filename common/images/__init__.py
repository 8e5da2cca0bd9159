"""Decoding, resizing, and writing of images."""
