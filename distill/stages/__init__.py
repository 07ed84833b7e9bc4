"""One file per stage: what decides it, which parts it has, how a part is made. Every class of a data set is a part of its own.

A *draw* is one replicate of a class's selection, named by its budget and its seed, ``k10.seed0``; a part holds all draws of its
class.
"""
