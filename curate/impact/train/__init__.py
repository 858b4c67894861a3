"""Train on original and on obfuscated images, test on both."""
