"""How components are looked for: walks down the penalties, races of starts and frames, the last refinements."""
