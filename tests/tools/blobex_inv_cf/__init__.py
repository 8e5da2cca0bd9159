"""Tests of blobex_inv_cf."""
