"""The demo: the main job on a real cluster with real data, from nothing to a restore that brings the rows back."""
