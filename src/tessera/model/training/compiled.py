"""Layers whose many small steps a compiler has fused into few."""

from __future__ import annotations

import torch

from tessera.contracts.errors import BadParams
from tessera.model.nn.layer import HstuLayer
from tessera.model.trunk.model import SequenceModel


def compile_layers(model: SequenceModel) -> None:
    """Let each layer be compiled when it is first used, once for all sizes.

    The attention is left as it is: its tiles would be unrolled, and compiled for each length anew.

    Raises
    ------
    BadParams
        If there is no C++ compiler.
    """
    # Imported here: loading the compiler takes seconds, and few runs want it.
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise BadParams(
            "hstu.compile needs a C++ compiler and finds none: install g++, name one in CXX, or "
            "set it to false"
        ) from error
    for layer in model.layers:
        if isinstance(layer, HstuLayer):
            layer.attend = torch.compiler.disable(layer.attend)  # type: ignore[no-untyped-call]
        layer.compile(dynamic=True)
