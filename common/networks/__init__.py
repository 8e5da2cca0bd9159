"""Whole networks that several tools load."""
