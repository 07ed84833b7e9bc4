"""Barycenters: the K-point measure nearest to several measures at once, its weights free, uniform or given.

Order of reading: ``problem`` (what is asked, checked), ``evaluation`` (a candidate's exact transports: its objective, and where
its points want to go), ``fixed_point`` (given weights: the points move there), ``weights`` (given points: the best weights, by an
interior point; ``kernels`` are its loops), ``interior_point`` (free weights: both in turn), ``entropic`` (measures too large for
the simplex), ``solve`` (what users call).
"""
