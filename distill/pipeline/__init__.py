"""The pipeline: it skips finished parts, has an engine make the others, writes and seals; stages know none of that."""
