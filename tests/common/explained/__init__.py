"""Tests of explained models."""
