"""Training: one loop, and the recipes of the networks."""
