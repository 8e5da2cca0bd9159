"""The tools: one command each; no tool imports another."""
