"""Batches of problems on a GPU: the algorithms of ``starts`` and ``solvers.lloyd``, taken for many measures in step.

Order of reading: ``group`` (measures side by side), ``plain`` (what is computed of them, in torch's own operations), ``fused``
and ``kernels`` (the same in Triton, where a pass reads the points once and keeps nothing of their size), ``seeding`` (k-means++),
``batch`` (Lloyd's steps and the answers). All but ``kernels`` runs on a CPU as well; nothing here is imported before a tensor
has been handed over.
"""
