"""One file per command: parse, build a Recipe, call one library function, print."""
