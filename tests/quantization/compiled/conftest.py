"""What the matrix of inner products is made of, for tests that hold for both kinds."""

import pytest

from quantization.compiled.kernels import whole


@pytest.fixture(params=["floats", "whole numbers"])
def numbers(request, monkeypatch):
    """What the matrix is made of, for points in float32."""
    if request.param == "whole numbers" and not whole.AVAILABLE:
        pytest.skip("this CPU has no products of 16 bits")
    monkeypatch.setattr(whole, "AVAILABLE", request.param == "whole numbers")
    return request.param
