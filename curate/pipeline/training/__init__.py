"""The steps of ``curate impact train``; `curate.pipeline.train` puts them together."""
