"""The networks as plain torch modules: no files, devices or thresholds inside; logits out."""
