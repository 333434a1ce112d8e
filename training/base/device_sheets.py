"""Speed and memory of GPUs by name, from their makers' data sheets. Imports no torch."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Sheet(NamedTuple):
    """One device: its speed at dense matrix products, and its memory.

    Attributes:
        half: FLOP/s in fp16 with float32 accumulation; also in bf16, if the device has it.
        single: FLOP/s in float32, without TF32, because torch leaves that off.
        memory: bytes.
        bf16: whether its matrix units have bf16. Without them, bf16 runs at the speed of float32.
    """

    half: float
    single: float
    memory: float
    bf16: bool = True

    @property
    def precision(self) -> Literal["bf16", "fp16"]:
        """The precision that `train.mixed_precision: auto` chooses on this device."""
        return "bf16" if self.bf16 else "fp16"

    def flops(self, precision: str) -> float:
        """FLOP/s under a value of `train.mixed_precision`: no, bf16 or fp16."""
        return self.half if precision == "fp16" or (precision == "bf16" and self.bf16) else self.single


SHEETS = {
    "h200": Sheet(989e12, 67e12, 141e9), "h100": Sheet(989e12, 67e12, 80e9), "a100": Sheet(312e12, 19.5e12, 80e9),
    "l40s": Sheet(362e12, 91.6e12, 48e9), "rtx4090": Sheet(165e12, 82.6e12, 24e9), "rtx3090": Sheet(71e12, 35.6e12, 24e9),
    "a10": Sheet(125e12, 31.2e12, 24e9), "l4": Sheet(121e12, 30.3e12, 24e9), "v100": Sheet(125e12, 15.7e12, 16e9, bf16=False),
    "t4": Sheet(65e12, 8.1e12, 16e9, bf16=False),
}  # fmt: skip
