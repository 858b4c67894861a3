"""Reports of commands: JSON, self-contained HTML pages, charts."""
