"""What is compiled: garbage is collected again afterwards, whatever came of it."""

import gc

import pytest


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_after_compiling_as_before(collects):
    from numba.core.errors import TypingError

    from quantization.compiler import compiled

    def plain(x):
        return x + 1

    def wrong(x):
        return x.there_is_no_such_attribute

    (gc.enable if collects else gc.disable)()
    try:
        assert compiled(plain)(2) == 3
        assert gc.isenabled() == collects
        with pytest.raises(TypingError):
            compiled(wrong)(2)
        assert gc.isenabled() == collects
    finally:
        gc.enable()
