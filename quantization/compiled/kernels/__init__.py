"""The loops, compiled by numba: each works on some rows, in one thread, without the interpreter's lock.

Rows are contiguous, float32 or float64; codes are float64, or in the points' precision where they are kept in it. What decides
are direct differences in float64; the lowest index wins a tie. Nothing here allocates more than some rows. ``compiler`` says how
they are compiled; ``tile`` is a product in the machine's own vectors, ``whole`` one in whole numbers; the others are the passes
of the files of the same names outside, ``adding`` and ``keeping`` of ``sums``, ``members`` of ``gram``.
"""
