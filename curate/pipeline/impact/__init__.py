"""What obfuscation costs a classifier: predictions made, paired, measured and shown."""
