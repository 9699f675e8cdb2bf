"""Ways to fill a cell beside components: neighbours, regression of slices, arrays of low rank."""
