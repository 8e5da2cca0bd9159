"""Whole networks that two or more tools load."""
