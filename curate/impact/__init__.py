"""Effect of obfuscation on image classifiers: predictions, evaluation, training, attribution."""
