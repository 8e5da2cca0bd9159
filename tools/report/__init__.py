"""The report tool: a page about any folder of runs."""
