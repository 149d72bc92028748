"""Checks of `make lint` that no ready tool does."""
