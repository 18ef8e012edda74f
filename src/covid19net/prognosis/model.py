"""A prognostic model on disk: JSON with its provenance and card."""
