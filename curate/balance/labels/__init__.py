"""Label audit: which labels to keep, from annotators' judgments."""
