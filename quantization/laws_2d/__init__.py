"""Gaussian mixtures in the plane: cells by integrals along the edges of Voronoi polygons, and searches for the best codebooks."""
