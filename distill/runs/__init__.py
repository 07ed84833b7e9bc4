"""Runs: what is done with a recipe and a folder. Each file is a command, beside what a run's folder holds."""
