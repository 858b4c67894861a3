"""What obfuscation costs a classifier: statistics of paired predictions; pure."""
