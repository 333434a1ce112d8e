"""Devices by name, as their makers describe them. Light: no torch."""

from __future__ import annotations

# FLOP/s of dense bf16 or fp16 products with float32 accumulation, and bytes of memory, from the makers' data sheets.
SHEETS = {
    "h200": (989e12, 141e9), "h100": (989e12, 80e9), "a100": (312e12, 80e9), "l40s": (362e12, 48e9), "rtx4090": (165e12, 24e9),
    "rtx3090": (71e12, 24e9), "a10": (125e12, 24e9), "l4": (121e12, 24e9), "v100": (125e12, 16e9), "t4": (65e12, 16e9),
}  # fmt: skip
