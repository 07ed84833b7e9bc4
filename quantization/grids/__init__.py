"""Quantizers built of others: products of grids on the line, grids of paths."""
