"""The dataset card, written from a manifest, reports and ``card.toml``."""
