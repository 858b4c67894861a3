"""The dataset card: ``README.md`` and ``CITATION.cff`` from a manifest, reports and ``card.toml``."""
