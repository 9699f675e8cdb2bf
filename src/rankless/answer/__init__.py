"""What is made of the fits: shares, intervals, difficulty of cells."""
