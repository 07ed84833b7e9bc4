"""How fast the solvers are beside what people use now: ``python -m benchmarks.solvers`` (``make bench``)."""
