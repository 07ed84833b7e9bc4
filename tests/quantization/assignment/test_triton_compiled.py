"""The Triton kernels compiled for an H200 (sm_90), which needs none: what the machine code must and must not hold."""

import re
import subprocess
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning:triton")]

triton = pytest.importorskip("triton")


def compiled(kernel, pointers, numbers, constants, tile):
    """The kernel as Triton's compiler makes it where every pointer and two of the numbers are multiples of 16."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = {**pointers, **numbers, **dict.fromkeys(constants, "constexpr")}
    aligned = [name for name in (*pointers, "d", "stride") if name not in constants]
    attributes = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned if name in kernel.arg_names}
    source = ASTSource(
        fn=kernel, signature={name: types[name] for name in kernel.arg_names}, constexprs=constants, attrs=attributes
    )
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=tile.launch)


def resources(binary, folder):
    """Registers and stack bytes of the machine code, as NVIDIA's own tool reads them."""
    import triton.backends.nvidia as nvidia

    (folder / "cubin").write_bytes(binary)
    tool = Path(nvidia.__file__).parent / "bin" / "cuobjdump"
    if not tool.exists():
        pytest.skip("Triton came without cuobjdump")
    report = subprocess.run([tool, "--dump-resource-usage", folder / "cubin"], capture_output=True, text=True, check=True).stdout
    return {name: int(re.search(rf"{name}:(\d+)", report)[1]) for name in ("REG", "STACK")}


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def kernels(request):
    from quantization.assignment import triton_kernels as source
    from quantization.assignment.triton_blocks import _ELEMENTS, Fused

    element = _ELEMENTS[getattr(torch, request.param)]
    short = {"float32": "*fp32", "bfloat16": "*bf16"}[request.param]
    i64, f64 = "*i64", "*fp64"
    whole = dict.fromkeys(("stride", "d", "K", "N", "trials", "parts", "panels"), "i32")

    def build(name, pointers, tile, **constants):
        kernel = getattr(source, name)
        numbers = {key: kind for key, kind in {**whole, "gamma": "fp32"}.items() if key in kernel.arg_names}
        own = {"ELEMENT": element} if "ELEMENT" in kernel.arg_names else {}
        return compiled(kernel, pointers, numbers, {**own, **constants}, tile)

    framing, scores, deciding, sums, pairs = Fused.framing, Fused.scores, Fused.deciding, Fused.sums, Fused.pairs
    floats = dict.fromkeys(("half_squares", "centres", "scales", "tops"), "*fp32")
    split = dict.fromkeys(("codes", "rests"), "*fp16")
    table = {"addresses": i64}
    made = {
        "score_codes": build(
            "score_codes",
            {**table, "counts": i64, "ks": i64, **floats, **split, "labels": "*i32", "doubtful": "*i8"}, scores,
            ALIGNED=True, ROWS=scores.points, CODES=64, WIDTH=scores.width, SPLIT=True, POINT_GAIN=2.0**8, CODE_GAIN=2.0**14,
        ),
        "mean_codes": build("mean_codes", {"codes": short, "ks": i64, "centres": "*fp32"}, framing, WIDTH=framing.width),
        "centred_squares": build(
            "centred_squares", {"codes": short, "centres": "*fp32", "squares": f64}, framing, WIDTH=framing.width,
        ),
        "split_codes": build(
            "split_codes",
            {"codes": short, "centres": "*fp32", "scales": "*fp32", "uppers": "*fp16", "rests": "*fp16"}, framing,
            WIDTH=framing.width, GAIN=2.0**14,
        ),
        "decide_rows": build(
            "decide_rows", {**table, "undecided": i64, "ks": i64, "codes": short, "labels": "*i32"}, deciding,
            ALIGNED=True, CODES=deciding.codes, WIDTH=deciding.width,
        ),
        "sum_cells": build(
            "sum_cells",
            {**table, "order": i64, "begins": i64, "weights": f64, "codes": short, "masses": f64, "costs": f64, "shifts": f64,
             "means": short, "pulls": f64, "moved": "*i8"}, sums,
            ALIGNED=True, ROWS=sums.points, WIDTH=sums.width, WHOLE=True,
        ),
        "join_cells": build(
            "join_cells", {"masses": f64, "shifts": f64, "codes": short, "means": short, "pulls": f64, "moved": "*i8"}, sums,
            WIDTH=sums.width,
        ),
        "measure_pairs": build(
            "measure_pairs", {**table, "counts": i64, "candidates": i64, "squared": f64}, pairs,
            ALIGNED=True, ROWS=pairs.points, MOST=4, OTHERS=1, WIDTH=pairs.width,
        ),
    }  # fmt: skip
    return request.param, made


def test_nothing_is_summed_by_atomics(kernels):
    for name, kernel in kernels[1].items():
        assert not re.search(r"\b(atom|red)\.", kernel.asm["ptx"]), name


def test_registers_suffice(kernels, tmp_path):
    for name, kernel in kernels[1].items():
        assert resources(kernel.asm["cubin"], tmp_path)["STACK"] == 0, name


def test_points_are_read_many_at_a_time(kernels):
    """Four coordinates a load: 16 bytes of float32."""
    dtype, made = kernels
    wide = r"ld\.global[.\w:]*\.(v4\.b32|v2\.b64)" if dtype == "float32" else r"ld\.global[.\w:]*\.(v2\.b32|v4\.b16|b64)"
    for name in ("sum_cells", "measure_pairs"):
        assert re.search(wide, made[name].asm["ptx"]), name
    assert re.search(r"cp\.async\.cg\.shared\.global .*0x10", made["score_codes"].asm["ptx"])


def test_inner_products_stay_short(kernels):
    """Scores are reduced by each product in turn. Folded into the products, the sum would be one long inner product."""
    code = kernels[1]["score_codes"].asm["ttgir"]
    assert "warp_group_dot" in code  # tensor cores
    assert re.search(r"arith\.subf %\w+, %\w+ : tensor<\d+x\d+xf32, #mma>", code)


def test_offsets_are_64_bit(kernels):
    """No 32-bit product is widened afterwards: it has overflown by then."""
    for name, kernel in kernels[1].items():
        code = kernel.asm["ttir"]
        products = re.findall(r"(%\w+) = arith\.muli [^:]*: (?:tensor<[\dx]+x)?i32", code)
        widened = set(re.findall(r"arith\.extsi (%\w+) ", code))
        assert not widened & set(products), name


def test_numbers_that_are_one_are_constants():
    """As Triton takes them: one coordinate, one code, one part."""
    from quantization.assignment import triton_kernels as source
    from quantization.assignment.triton_blocks import Fused

    i64, f64, one = "*i64", "*fp64", dict.fromkeys(("stride", "d", "K", "parts", "panels"), 1)
    element = {"ELEMENT": source.tl.float32, "ALIGNED": False}
    floats = dict.fromkeys(("codes", "half_squares", "centres", "scales", "tops"), "*fp32")
    whole = {"rests": None, "SPLIT": False, "POINT_GAIN": 1.0, "CODE_GAIN": 1.0}
    table, few = {"addresses": i64}, dict.fromkeys(("stride", "d", "K"), 1)
    compiled(
        source.score_codes, {**table, "counts": i64, "ks": i64, **floats, "labels": "*i32", "doubtful": "*i8"},
        {"N": "i32", "gamma": "fp32"}, {**element, **few, **whole, "ROWS": 64, "CODES": 16, "WIDTH": 32},
        Fused.scores,
    )  # fmt: skip
    compiled(
        source.sum_cells,
        {**table, "order": i64, "begins": i64, "weights": f64, "codes": "*fp32", "masses": f64, "costs": f64, "shifts": f64,
         "means": "*fp32", "pulls": f64, "moved": "*i8"},
        {"N": "i32"}, {**element, **one, "ROWS": 8, "WIDTH": 128, "WHOLE": True}, Fused.sums,
    )  # fmt: skip
    compiled(
        source.decide_rows, {**table, "undecided": i64, "ks": i64, "codes": "*fp32", "labels": "*i32"},
        {"N": "i32"}, {**element, **few, "CODES": 16, "WIDTH": 128}, Fused.deciding,
    )  # fmt: skip
    compiled(
        source.measure_pairs, {**table, "counts": i64, "candidates": i64, "squared": f64},
        {"N": "i32"}, {**element, "stride": 1, "d": 1, "trials": 1, "ROWS": 8, "MOST": 1, "OTHERS": 0, "WIDTH": 64}, Fused.pairs,
    )  # fmt: skip
