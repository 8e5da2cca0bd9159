"""Calibrate prediction sets for the style coordinates of images (risk-controlling prediction sets)."""
