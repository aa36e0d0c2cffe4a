"""Calibration methods: one a file."""
