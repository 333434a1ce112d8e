"""The only way by which a model folder's config, tokenizer and weights come in.

Code that lies in the folder is never executed (`trust_remote_code`), nothing is fetched, and weights come from safetensors alone:
a stranger may have written the folder. `tests/test_pretrained.py` forbids every other call of `from_pretrained`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SAFE: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}


def read_config(folder: str | Path) -> Any:
    """The model's config, of transformers; raises what transformers raises for a damaged one or one that wants code of its own."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(str(folder), **SAFE)


def read_generation_config(folder: str | Path) -> Any:
    """What generation_config.json says; raises what transformers raises."""
    from transformers import GenerationConfig

    return GenerationConfig.from_pretrained(str(folder), local_files_only=True)


def read_tokenizer(folder: str | Path, **options: Any) -> Any:
    """The tokenizer; raises what transformers and tokenizers raise."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), **options, **SAFE)


def read_model(folder: str | Path, auto_class: str, **options: Any) -> Any:
    """The model with its weights, by the name of an auto class of transformers; raises what transformers and safetensors raise.

    Args:
        options: of `from_pretrained`, such as `dtype`.
    """
    import transformers

    return getattr(transformers, auto_class).from_pretrained(str(folder), **options, **SAFE, use_safetensors=True)
