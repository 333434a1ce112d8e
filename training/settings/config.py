"""The configuration of a run: a tree of dataclasses that YAML files and the command line fill in.

`python training/train.py --help` prints every field with the text below it. Nothing heavy is imported here, so that the app and the
preflight can read a config without torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Gt, Le, Lt

from training.base.errors import ConfigError
from training.settings.task_specs import TASKS, TaskSpec

__all__ = ["Config", "ConfigError"]


@dataclass
class SourceConfig:
    """One source of rows."""

    path: str
    """A file (txt, jsonl/json lines, csv, tsv, parquet; plain, .gz, .xz, .zst or .bz2), a glob, an http(s) URL, or a
    dataset on the Hugging Face hub (`owner/name`, or `hub:` before any name or local dataset folder)."""
    target_path: str | None = None
    """For two line-aligned text files: the file with the target sentences, while `path` has the sources."""
    weight: Annotated[float, Gt(0), Le(1000)] = 1.0
    """How often an epoch passes over this source; 0.5 takes another random half of its rows each epoch."""
    where: dict[str, Any] | None = None
    """Keep only rows whose column has this value (or one of a list), e.g. `{source: tatoeba}`."""
    columns: dict[str, str] | None = None
    """Column names of this source, if they differ from `corpus.columns`."""
    document: str | None = None
    """What one text of this source is, if that differs from `corpus.document`."""
    format: Literal["auto", "txt", "jsonl", "csv", "tsv", "parquet"] = "auto"
    """`auto` goes by the file's ending."""
    name: str | None = None
    """Hub datasets: the configuration's name, e.g. `zh-en`."""
    split: str = "train"
    """Hub datasets: the split."""
    tag: str = ""
    """Put before every source sentence (gpt: text) after filtering, e.g. `<docs> `, so that the model learns to tell kinds of text apart.
    Give no tag to the kind that users will type."""
    license: str = ""
    """The licence and the authors, for the model card, e.g. `CC BY 2.0 FR, https://tatoeba.org`; nothing else reads it."""


Sources = str | SourceConfig | list[str | SourceConfig]


@dataclass
class FiltersConfig:
    """Which pairs are left out. Each rejected row is counted under the filter's name; 0 or false turns one off."""

    max_chars: Annotated[int, Ge(0)] = 0
    """Rows with a side longer than this many characters are `too_long`; under `corpus.strict` the first one is an error."""
    min_chars: Annotated[int, Ge(0)] = 1
    """Rows with a side shorter than this are `too_short`."""
    max_ratio: Annotated[float, Ge(0)] = 0.0
    """Pairs whose sides' lengths, English words against Chinese characters (a word counted as 1.6 of them), differ
    by more than this factor are `ratio`."""
    identical: bool = True
    """Drop pairs whose two sides are the same."""
    script: bool = False
    """Drop pairs whose source is not mostly Han characters or whose target is not mostly Latin letters."""
    duplicates: bool = True
    """Drop repeats of a pair. Found with a Bloom filter of constant size (64 MiB): of 10M rows, fewer than one in a
    thousand is dropped by mistake."""


@dataclass
class CorpusConfig:
    """What is read."""

    train: Sources = field(default_factory=list)
    """A path, a source, or a list of them."""
    validation: Sources | None = None
    """The validation set; if not given, `validation_share` of the training rows is held out."""
    validation_share: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Share of the training rows to hold out when there is no validation set."""
    holdout: Literal["spread", "tail"] = "spread"
    """`spread` picks held-out rows all over the corpus (the same for every seed), `tail` takes the end of it."""
    columns: dict[str, str] = field(default_factory=dict)
    """Names of the columns: `{text: …}` for gpt, `{source: …, target: …}` for translation. Defaults: `text`,
    `chinese` and `english`."""
    document: str = "line"
    """gpt, txt files: what one text is, and so where the end-of-text token goes: a `line`, what stands between blank lines
    (`blank_line`), the whole `file`, or what begins at a line that matches a regular expression with ^ at its front: chapters
    by `^第.{1,6}回`."""
    filters: FiltersConfig = field(default_factory=FiltersConfig)
    strict: bool = False
    """Stop at the first bad row (malformed, not UTF-8, a field missing, of a wrong type or empty, too long) instead of
    counting it and going on. Rows that the other filters leave out are not faults of a file and do not stop the run."""
    max_rows: Annotated[int, Gt(0)] | None = None
    """Read only this many rows of every file or dataset: a small part first, or a bound for an endless stream."""
    shuffle_rows: Annotated[int, Gt(0)] = 16384
    """The mean number of training rows that are shuffled and batched together; more mixes better and takes more memory."""
    workers: Annotated[int, Ge(0)] = 0
    """Loader processes that read and tokenize ahead. The order of the rows does not depend on it."""


@dataclass
class TokenizerConfig:
    """How text becomes numbers."""

    type: Literal["char", "bpe", "word"] = "bpe"
    """`char`: one token a character. `bpe`: byte pair encoding; what is not in the vocabulary is spelt in bytes. `word`: one
    token a word, to show why not."""
    vocab_size: Annotated[int, Gt(0)] = 8000
    """Most entries of the vocabulary, special and byte tokens included."""
    min_frequency: Annotated[int, Ge(0)] = 2
    """A character or merge seen fewer times than this is not kept."""
    isolate_han: bool = False
    """bpe: never merge Chinese characters with each other, so that the vocabulary goes to the other language."""
    joint: bool = True
    """translation, bpe: merges are learnt from both languages together ("joint BPE", Sennrich et al. 2016), and the more varied one gets
    more of the entries; `false`: each learns half of them from its own side. The model has one table of them either way."""
    alphabet_coverage: Annotated[float, Ge(0), Le(1)] = 1.0
    """bpe: the most frequent characters that together make this share of all text get their own entry; the rest is
    spelt in bytes (SentencePiece's `character_coverage`)."""
    sample_rows: Annotated[int, Gt(0)] = 500_000
    """Most rows that the tokenizer is trained on; of long texts fewer, so that they have about 200M characters."""
    path: str | None = None
    """Use the tokenizer of this folder instead of training one."""


@dataclass
class BatchConfig:
    """What goes through the model at once."""

    block_size: Annotated[int, Ge(2)] = 256
    """gpt: the model's context in tokens. Shorter texts are padded, long ones packed."""
    packing: Literal["auto", "always", "never"] = "auto"
    """gpt: `never` gives each text its own padded row (a text longer than block_size goes on in the next), `always`
    joins texts end to end; `auto` packs when the median text is longer than half of block_size."""
    micro_batch_size: Annotated[int, Gt(0)] = 16
    """gpt: rows of block_size tokens that one forward pass takes."""
    tokens_per_batch: Annotated[int, Gt(0)] = 2000
    """translation: most tokens, padding included, on the longer side of one forward pass."""
    max_source_length: Annotated[int, Ge(2)] = 128
    """translation: pairs with a longer source (in tokens) are left out and counted."""
    max_target_length: Annotated[int, Ge(2)] = 128
    """translation: the same for the target."""


@dataclass
class OptimConfig:
    """The optimizer and its schedule."""

    name: Literal["adamw", "muon"] = "adamw"
    """`muon` orthogonalises the updates of hidden matrices and leaves the rest to AdamW (Jordan et al. 2024)."""
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Peak learning rate (of AdamW; Muon's is `muon_learning_rate`)."""
    muon_learning_rate: Annotated[float, Gt(0)] = 0.02
    """Peak learning rate of the hidden matrices under Muon."""
    weight_decay: Annotated[float, Ge(0)] = 0.1
    """Decoupled; on matrices only, never on biases, norms and embeddings of positions."""
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.9
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.98
    eps: Annotated[float, Gt(0)] = 1e-8
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt", "wsd"] = "wsd"
    """What follows the warmup; `wsd` stays at the peak and comes down over the last `decay_share`."""
    warmup_steps: Annotated[int, Ge(0)] = 100
    """Optimizer steps from zero to the peak."""
    decay_share: Annotated[float, Ge(0), Le(1)] = 0.3
    """wsd: the last part of the horizon, over which the rate falls linearly."""
    final_ratio: Annotated[float, Ge(0), Le(1)] = 0.0
    """linear, cosine, wsd: the rate at the end as a share of the peak."""
    max_grad_norm: Annotated[float, Ge(0)] = 1.0
    """Gradients are scaled down to this norm; 0 leaves them alone."""


@dataclass
class TrainConfig:
    """How long and how. Of several horizons the first that is reached ends the run."""

    max_steps: Annotated[int, Gt(0)] | None = None
    """Horizon in optimizer steps."""
    max_tokens: Annotated[int, Gt(0), Le(10**15)] | None = None
    """Horizon in target tokens."""
    max_minutes: Annotated[float, Gt(0)] | None = None
    """Horizon in minutes of training; evaluation and saving count. Such a run cannot be repeated bit by bit."""
    gradient_accumulation_steps: Annotated[int, Gt(0), Le(10_000)] = 1
    """Micro-batches per process that make up one step. The loss is the mean over all their tokens."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """`auto`: on a CPU, a step of the run is timed in float32 and, where its products are fast, in bf16, and the faster
    is taken; on a GPU, bf16 if it has that, else fp16."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    averaging: Literal["none", "ema", "last"] = "none"
    """Evaluate and save the average of the weights instead of the last ones: an exponential one, or the plain mean
    over the last `average_share` of the run."""
    ema_decay: Annotated[float, Ge(0), Lt(1)] = 0.999
    average_share: Annotated[float, Ge(0), Le(1)] = 0.2
    average_every_steps: Annotated[int, Gt(0)] = 10
    early_stopping: Annotated[int, Ge(0)] = 0
    """Stop after this many evaluations without a better validation loss; 0 never does."""


@dataclass
class EvaluationConfig:
    """What is looked at while training."""

    every_steps: Annotated[int, Gt(0)] = 500
    """Evaluate every so many steps, and at the end."""
    max_rows: Annotated[int, Gt(0)] = 1000
    """Rows of the validation set that the loss is measured on."""
    generate_rows: Annotated[int, Ge(0)] = 64
    """translation: validation sentences that are translated greedily for BLEU and chrF."""
    prompts: list[str] = field(default_factory=lambda: [""])
    """gpt: beginnings to continue; translation: sentences to translate besides those of the validation set."""
    samples: Annotated[int, Ge(0)] = 4
    """Sample texts that an evaluation writes down. gpt: for each prompt. translation: of the validation sentences, while
    BLEU is of all `generate_rows`; every prompt is translated once besides."""
    max_new_tokens: Annotated[int, Gt(0)] = 128
    temperature: Annotated[float, Ge(0)] = 0.8
    """Of the samples; 0 is greedy."""


@dataclass
class CheckpointConfig:
    """What is kept."""

    every_steps: Annotated[int, Gt(0)] = 500
    """Save every so many steps, and at the end."""
    keep: Annotated[int, Gt(0)] = 2
    """How many of the latest checkpoints stay; the best one always does."""


@dataclass
class LogConfig:
    """What is written down."""

    every_steps: Annotated[int, Gt(0)] = 10
    """A record in metrics.jsonl every so many steps."""
    log_with: str | None = None
    """Any tracker that Accelerate knows: tensorboard, wandb, mlflow, …"""
    preflight: bool = True
    """Before the first step, say what the run will take and what is wrong with it (training/preflight.py)."""
    language: Literal["auto", "zh", "en"] = "auto"
    """The language of reports and messages; `auto` goes by the locale."""


@dataclass
class Config:
    """A run of training/train.py."""

    task: Literal[tuple(TASKS)]  # type: ignore[valid-type]
    """gpt: continue a text; translation: translate a sentence."""
    run_dir: str = "runs/unnamed"
    """Where the run folder goes."""
    resume: bool = False
    """Go on from the latest checkpoint in run_dir; starts from nothing if there is none."""
    seed: Annotated[int, Ge(0), Le(2**32 - 2**16 - 1)] = 1
    """The seed of weights, order and dropout. It is bounded because NumPy's seeds are below 2**32 and each process adds its number."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: dict[str, Any] = field(default_factory=dict)
    """`type` is a model of transformers (gpt2, qwen3, llama, m2m_100, marian, t5, …); all other keys are those of its
    config class."""
    batch: BatchConfig = field(default_factory=BatchConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)

    @property
    def spec(self) -> TaskSpec:
        """The task's TaskSpec."""
        return TASKS[self.task]


def dump_config(config: Config) -> str:
    """The whole config as YAML; reading it again gives the same config."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True, width=100)


def source_list(value: Sources | None) -> list[SourceConfig]:
    """`corpus.train` or `corpus.validation` as a plain list of sources."""
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    return [SourceConfig(path=v) if isinstance(v, str) else v for v in values]
