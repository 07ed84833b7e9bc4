"""The one door to transformers: texts as the states of CLIP's text encoder."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class TextEncoder:
    """The tokenizer and the text encoder of a pipeline that diffusers saved in a folder."""

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str = "float32") -> None:
        transformers = import_module("transformers")
        transformers.logging.disable_progress_bar()
        self._tokenizer = transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        safely = {"local_files_only": True, "use_safetensors": True, "dtype": getattr(torch, dtype)}
        self._model: Any = transformers.CLIPTextModel.from_pretrained(folder / "text_encoder", **safely).to(device).eval()

    @torch.no_grad()
    def __call__(self, text: str) -> Tensor:
        """The last hidden states (1, tokens, width), the text padded or cut to the model's length."""
        length = self._model.config.max_position_embeddings
        tokens = self._tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return self._model(tokens.input_ids.to(self._model.device))[0]
