"""The pipeline: what a stage, its parts and their folder are. Parts are written whole and sealed; stages know none of that."""
