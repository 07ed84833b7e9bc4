"""The pipeline: it skips finished parts, spreads the others over workers, writes and seals; stages know none of that."""
