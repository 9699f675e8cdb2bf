"""Data and models: observations, CP tensors, coordinates in canonical order."""
