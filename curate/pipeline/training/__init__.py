"""The steps of ``curate impact train``; `curate.pipeline.training.train` puts them together."""
