"""Finite measures: cells by a search for nearest codes, and on the line by sorted sums over intervals."""
