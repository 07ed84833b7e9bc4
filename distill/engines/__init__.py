"""Engines: they have parts made, by processes of this machine or of a cluster. ``execute`` is the loop that asks them to."""
