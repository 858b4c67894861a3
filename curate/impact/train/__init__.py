"""Training on original and on obfuscated images, tested on both."""
