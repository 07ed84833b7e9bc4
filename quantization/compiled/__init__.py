"""Compiled passes over samples in host memory: the search for nearest codes that picks its way by shape, and the sums of cells.

Order of reading: ``sweep`` (one pass over the data, and what it remembers), ``near`` (few dimensions: lists of neighbouring
codes), ``product`` (many dimensions: blocked matrix products), ``gram`` (Lloyd where points are few and dimensions many),
``kernels``. Loaded only for work that is worth the loading: see ``voronoi``.
"""
