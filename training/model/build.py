"""Building a model: a class of transformers with fresh weights, from the `model:` section of a config.

`model.type` picks the class from transformers' auto mappings; every other key belongs to the config of that class. The vocabulary size,
the special ids and the context length come from the tokenizer and the `batch` section, so that they cannot disagree.

In shapes, B is rows and T tokens.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import re
from typing import Any

import torch
import transformers
from transformers import AutoConfig, GenerationConfig, PreTrainedModel
from transformers.models.auto import modeling_auto

from training.base.errors import ConfigError
from training.model import attention  # noqa: F401  (registers itself as `sdpa`)
from training.settings.task_specs import TASKS

PARTS_BY_NAME = (("attention", re.compile("attn|attention", re.I)), ("feed_forward", re.compile("mlp|ffn|feed|fc1|fc2|dense|expert", re.I)))

FILLED_IN = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "is_encoder_decoder")

COUNTS = (
    "hidden_size", "d_model", "n_embd", "intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "d_kv", "n_inner", "head_dim",
    "num_attention_heads", "num_key_value_heads", "encoder_attention_heads", "decoder_attention_heads", "num_encoder_attention_heads",
    "num_decoder_attention_heads", "n_head", "num_heads", "num_hidden_layers", "n_layer", "encoder_layers", "decoder_layers", "num_layers",
    "num_encoder_layers", "num_decoder_layers",
)  # fmt: skip

OUTPUT_KEYS = ("output_hidden_states", "output_attentions", "return_dict", "return_dict_in_generate", "use_return_dict", "torchscript")


def model_config(task: str, keys: dict[str, Any], tokenizer: Any, context: int) -> Any:
    """The transformers config for `keys`, with vocabulary size, special ids and context filled in.

    Args:
        keys: the `model` section.
        tokenizer: gives the vocabulary size and the special ids.
        context: the most tokens that the model will see at once.

    Raises:
        ConfigError: listing every unknown or refused key.
    """
    name, spec = str(keys["type"]), TASKS[task]
    types = {c.model_type for c in getattr(modeling_auto, spec.model_mapping)}
    if name not in types:
        near = difflib.get_close_matches(name, sorted(types), 3, 0.5)
        family = "an encoder-decoder" if spec.encoder_decoder else "a decoder-only"
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(f"model.type: {name!r} is not {family} model of transformers{hint}")
    cls = type(AutoConfig.for_model(name))
    valid = set(inspect.signature(cls.__init__).parameters) | set(cls().to_dict()) | set(cls.attribute_map)
    problems = []
    for key in keys:
        if key in FILLED_IN:
            problems.append(f"model.{key}: comes from the tokenizer; leave it out")
        elif key in OUTPUT_KEYS:
            problems.append(f"model.{key}: says what a call returns and nothing about the model; leave it out")
        elif key != "type" and key not in valid:
            near = difflib.get_close_matches(key, sorted(valid), 1, 0.5)
            problems.append(f"model.{key}: {name} has no such key" + (f"; did you mean {near[0]}?" if near else ""))
        elif key in COUNTS and keys[key] is not None and (type(keys[key]) is not int or keys[key] < 1):
            problems.append(f"model.{key}: {keys[key]!r} is not valid here; wanted a whole number from 1 on")
    if problems:
        raise ConfigError("\n".join(problems))
    given = {k: v for k, v in keys.items() if k != "type"}
    bidirectional = not spec.encoder_decoder and "is_decoder" in valid  # BERT and its kin
    if "max_position_embeddings" in valid and not {"max_position_embeddings", "n_positions"} & set(given):
        given["max_position_embeddings"] = context + (tokenizer.pad_token_id + 1 if bidirectional else 0)  # RoBERTa starts after it
    # Layer drop, on by default in M2M100, leaves parameters without gradients, which distributed training does not allow.
    given |= {k: 0.0 for k in ("encoder_layerdrop", "decoder_layerdrop", "layerdrop") if k in valid and k not in given}
    given |= {
        "vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    if bidirectional:
        given.setdefault("is_decoder", True)  # otherwise they attend to tokens on both sides
    if spec.encoder_decoder:
        given["decoder_start_token_id"] = tokenizer.eos_token_id  # as M2M100 and BART were trained; any fixed id serves
        given |= {k: tokenizer.eos_token_id for k in ("forced_eos_token_id",) if k in valid}
    try:
        config = AutoConfig.for_model(name, **given)
    except Exception as error:  # each config class raises errors of its own kinds
        raise class_error(name, error) from None
    if "decoder_vocab_size" in valid:
        config.decoder_vocab_size = len(tokenizer)
    for key, value in config.to_dict().items():  # special ids from the class's defaults may lie outside our vocabulary
        if key.endswith("_token_id") and isinstance(value, int) and value >= len(tokenizer):
            try:
                setattr(config, key, None)
            except Exception:  # some classes require a number there
                setattr(config, key, tokenizer.pad_token_id)
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if isinstance(positions, int) and 0 <= positions < context:  # -1 in XLNet means no limit
        raise ConfigError(f"model.max_position_embeddings: {positions} is less than the {context} tokens that the batches hold")
    width, heads = getattr(config, "hidden_size", None), getattr(config, "num_attention_heads", None)
    if width and heads and width % heads and not getattr(config, "head_dim", None):
        fit = [h for h in range(1, width + 1) if width % h == 0 and h <= 2 * heads]
        raise ConfigError(f"model: {heads} heads do not divide the width {width}; heads that do: {', '.join(map(str, fit))}")
    groups = getattr(config, "num_key_value_heads", None)
    if heads and groups and heads % groups:
        raise ConfigError(f"model.num_key_value_heads: {groups} does not divide the {heads} attention heads")
    return config


def new_model(task: str, config: Any, context: int, max_new_tokens: int, seed: int) -> PreTrainedModel:
    """A model with fresh float32 weights, which depend on the seed alone. It is tried out: it must run, be causal, and generate.

    Args:
        context: the most tokens that the model will see at once; the generation of a decoder-only model ends there.
        max_new_tokens: where the generation of an encoder-decoder model ends.

    Raises:
        ConfigError: if the class refuses its config or the model does not work.
    """
    torch.manual_seed(seed)
    encoder_decoder = TASKS[task].encoder_decoder
    try:
        model = fresh(task, config).eval()
        ids = torch.full((2, min(8, context)), config.eos_token_id)  # (2, T): two rows that differ in the last token only
        ids[1, -1] = config.vocab_size - 1
        with torch.no_grad():  # in some classes, shapes that do not fit show only here
            key = "decoder_input_ids" if encoder_decoder else "input_ids"
            logits = torch.cat([model(**{"input_ids": ids[:1], key: row[None]}, use_cache=False).logits[:, :-1] for row in ids])
    except ConfigError:
        raise
    except Exception as error:  # assertion, value or runtime errors, depending on the class
        raise ConfigError(f"model: {config.model_type} cannot be built: {' '.join(str(error).split())}") from None
    if not torch.allclose(logits[0], logits[1], rtol=1e-4, atol=1e-4 * float(logits.abs().max())):
        raise ConfigError(f"model.type: {config.model_type} with these keys sees the tokens that it is to predict; choose another")
    generation = GenerationConfig.from_model_config(model.config)
    if encoder_decoder:
        generation.max_new_tokens, generation.max_length = max_new_tokens, None
    else:  # learned positions end with the context, however long the prompt is
        generation.max_new_tokens, generation.max_length = None, context
    model.generation_config = generation
    _try_generation(model, context)
    return model


def _try_generation(model: PreTrainedModel, context: int) -> None:
    """Generate two tokens, so that a class that cannot fails now with a ConfigError, not at the first evaluation."""
    trial = copy.deepcopy(model.generation_config)
    trial.max_new_tokens, trial.max_length, trial.eos_token_id, trial.forced_eos_token_id = 2, None, None, None
    ids = torch.full((2, max(1, min(4, context - 2))), model.config.eos_token_id)  # (B, T)
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=trial, do_sample=False, num_beams=1)
    except Exception as error:  # see new_model
        raise ConfigError(f"model: {model.config.model_type} with these keys cannot generate: {' '.join(str(error).split())}") from None


def fresh(task: str, config: Any) -> PreTrainedModel:
    """A model of the class that `config` belongs to, with fresh float32 weights; raises ConfigError if the class refuses the config."""
    try:
        model: PreTrainedModel = getattr(transformers, TASKS[task].auto_class).from_config(config, dtype=torch.float32)
    except Exception as error:  # see model_config
        raise class_error(config.model_type, error) from None
    return model


def class_error(kind: str, error: Exception) -> ConfigError:
    """An error of a model class as a ConfigError. The text of a KeyError is only the key, so its type is named too."""
    text = " ".join(str(error).split())
    return ConfigError(f"model: {kind} refuses this: " + (f"{type(error).__name__} {text}" if isinstance(error, KeyError) else text))


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Switch on gradient checkpointing, which computes activations again in the backward pass; raises ConfigError if the class cannot."""
    if not model.supports_gradient_checkpointing:
        raise ConfigError(f"train.gradient_checkpointing: {model.config.model_type} cannot do it; leave it out")
    if hasattr(model, "activation_checkpointing_enable"):  # the name since transformers 5.23
        model.activation_checkpointing_enable({"use_reentrant": False})
    else:
        model.gradient_checkpointing_enable({"use_reentrant": False})


def count_parameters(model: torch.nn.Module) -> int:
    """The number of trainable parameters; tied ones count once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_on_paper(task: str, config: Any) -> int:
    """The number of trainable parameters of a config's model, without allocating its weights."""
    with torch.device("meta"):
        return count_parameters(fresh(task, config))


def parameters_by_part(net: PreTrainedModel, vocabulary: int) -> tuple[dict[str, int], int]:
    """The number of trainable parameters by part, tied ones once; and how many are in embeddings or a head with a row a token.

    A parameter belongs to the innermost module on its path whose name or class says attention or feed-forward. Norms inside
    those modules count as `other`.
    """
    parts = dict.fromkeys(("embeddings", "attention", "feed_forward", "head", "other"), 0)
    modules = dict(net.named_modules())
    embeddings = {id(p) for m in modules.values() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    head = net.get_output_embeddings()
    heads = {id(p) for p in head.parameters()} - embeddings if head is not None else set()
    of_vocabulary = 0
    for name, p in net.named_parameters():
        if not p.requires_grad:
            continue
        path = name.split(".")
        owners = [".".join(path[:k]) for k in range(len(path) - 1, 0, -1)]
        words = [f"{owner.rpartition('.')[2]} {type(modules[owner]).__name__}" for owner in owners]
        part = "embeddings" if id(p) in embeddings else "head" if id(p) in heads else "other"
        if part == "other" and "norm" not in words[0].lower():
            part = next((part for word in words for part, pattern in PARTS_BY_NAME if pattern.search(word)), "other")
        parts[part] += p.numel()
        if part in ("embeddings", "head") and vocabulary in p.shape:
            of_vocabulary += p.numel()
    return {**parts, "total": sum(parts.values())}, of_vocabulary


def quiet_transformers() -> None:
    """Silence transformers: its warnings are about matters that this trainer handles, and it has progress bars of its own."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
