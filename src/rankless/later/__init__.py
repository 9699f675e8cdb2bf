"""What comes after a fit: new slices folded in (`extend`), new entries taken in (`update`), the file that carries both (`kept`)."""
