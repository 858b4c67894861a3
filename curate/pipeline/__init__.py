"""The only place where source, detector, obfuscator, codec and manifest meet."""
