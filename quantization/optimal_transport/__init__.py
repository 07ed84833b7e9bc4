"""Distances between measures, and the plans behind them.

Order of reading: ``coupling`` (a plan with its certificate, and what a method is), ``costs`` (powers of distances),
``network_simplex`` (exact plans), ``certificate`` (what proves them optimal), ``monotone`` (sorting, on the line),
``nearest_code`` (one side's weights free), ``sinkhorn`` (entropy, in the log domain, made feasible), ``divergence`` (its debiased
form), ``semidiscrete`` (a law against finitely many points), ``gaussians`` (two of them, in closed form), ``law_pairs`` (which
laws are coupled exactly, and by what), ``distances`` (what users call).
"""
