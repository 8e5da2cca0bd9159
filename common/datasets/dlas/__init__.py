"""DL-Art-School's data sets, opened from their options dictionaries."""
