"""What to trust: diagnostics of components and slices, matches, errors, a look at an input."""
