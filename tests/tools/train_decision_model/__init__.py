"""Tests of train_decision_model."""
