"""Inversion of images into blobs, and counterfactual explanations by changing the blobs."""
