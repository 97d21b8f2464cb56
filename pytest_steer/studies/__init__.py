"""Plans over claims and measures: looking for a layer and a multiplier, comparing methods. Knows nothing of pytest."""
