"""Barycenters: the K-point measure nearest to several measures at once, its weights free, uniform or prescribed.

Order of reading: ``problem`` (what is asked, checked), ``evaluation`` (a candidate's exact transports: its objective, and the
barycentric projections of its points), ``fixed_point`` (prescribed weights: the points move there), ``weights`` (fixed points:
the best weights, a linear program: by an interior-point method in ``primal_dual``, whose loops are ``kernels``, and to the end
by ``column_generation``), ``interior_point`` (free weights: both in turn), ``pilot`` (a start on samples), ``entropic`` (measures
too large for the network simplex), ``solve`` and ``many`` (what users call). A certificate, the gap that a dual leaves, is
compared with the tolerance where all solvers' are: ``State.within`` in ``solvers/base``, asked by ``iteration``.
"""
