"""Laws whose Voronoi cells can be computed exactly, one file a kind: what Lloyd, Newton and ``distortion`` work on.

``samples`` (any finite measure, by a search for the nearest codes), ``ordered`` (samples on the line, sorted), ``line``
(laws on the line with a density, by quadrature: ``density``, ``panels``, ``sides``, and ``companion`` for its start), ``plane``
(Gaussian mixtures in the plane: ``polygons`` for their cells, ``edges`` for integrals along edges, ``hopping`` for the search).
"""
