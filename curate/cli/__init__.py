"""One file per command: parse options, call one public function, print its result."""
