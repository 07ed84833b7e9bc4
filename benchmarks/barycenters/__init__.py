"""Barycenters against POT and OTT-JAX, from the same starts."""
