"""One file per method; each a frozen dataclass of options with one generator, ``solve``."""
