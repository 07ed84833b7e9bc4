"""Compiled passes over samples in host memory: the search for nearest codes that picks its way by shape, and the sums of cells.

Order of reading: ``sweep`` (one pass over the data), ``near`` (few dimensions: lists of neighbouring codes), ``product`` (many
dimensions: blocked matrix products); ``steps`` (Lloyd from codebook to codebook), ``gram`` (where points are few, and dimensions
and restarts many: on the matrix of ``inner``), ``kept`` (where codebooks are large); ``kernels``. Loaded only for work that is
worth the loading: see ``voronoi``.
"""
