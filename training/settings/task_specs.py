"""What differs between the tasks, as plain data. `TASKS` is the one list of them; their code is in `training/tasks/`.

Imports neither torch nor the config, which takes its choices of `task` from here. In shapes, B is rows and T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

LOSSES = ("val_loss", "perplexity", "bits_per_character")  # measured for every task; lower is better


@dataclass(frozen=True)
class TaskSpec:
    """One task. In methods, `batch` is the `batch` section of a config.

    Attributes:
        name: the value of `task` in a config.
        task_class: its code, as "module:class" (see `training/tasks/base.py`).
        columns: the columns of its rows, each with its default name in files. The model learns to write the last one.
        two_languages: the columns `source` and `target` hold a sentence and its translation.
        drops_duplicates: whether `corpus.filters.duplicates` applies to its rows.
        blank_lines_harmless: an empty line of a text file separates texts and is not a fault.
        special_tokens: those of a tokenizer trained for it, in the order of their ids.
        bos_token, eos_token: the special tokens that begin and end a text.
        text_template: how the tokenizer wraps a text `$A` for the model.
        padding_side: the side on which texts are padded for generation.
        normalizes_text: BPE normalises text to NFKC and puts a space before its first word, as before any other word. Otherwise the
            tokenizer gives back a text exactly as it was.
        auto_class, model_mapping: names in transformers: its auto class, and that class's mapping of models.
        encoder_decoder: the model reads one text and writes another. Otherwise it continues what it reads.
        tensors: the tensors of a micro-batch, each with the key of `batch` that limits the tokens of a row.
        micro_batch_key: the key of `batch` that sets how much goes through the model at once.
        micro_batch_unit: the unit of that key: whole rows, or padded tokens of the longer side.
        unpredicted_labels: labels at the beginning of a row that are not predicted, because the model reads them first.
        small_batch: target tokens a step below which a single long text makes up much of a step. Popel & Bojar (2018) found that the
            Transformer does worse the smaller its batch is; the numbers are ours.
        open_ended: there is no right answer, so texts are sampled at `evaluation.temperature` and measured by themselves. Otherwise
            they are generated greedily and compared with references.
        scores: the scores of an evaluation besides LOSSES, each with whether higher is better.
        pipeline_tag: the hub's name of the task, for a model card.
        does: what a model does, for its card: if the languages are unknown, and with a place for each language.
    """

    name: str
    task_class: str
    columns: Mapping[str, str]
    two_languages: bool
    drops_duplicates: bool
    blank_lines_harmless: bool
    special_tokens: tuple[str, ...]
    bos_token: str
    eos_token: str
    text_template: str
    padding_side: Literal["left", "right"]
    normalizes_text: bool
    auto_class: str
    model_mapping: str
    encoder_decoder: bool
    tensors: Mapping[str, str]
    micro_batch_key: str
    micro_batch_unit: Literal["rows", "tokens"]
    unpredicted_labels: int
    small_batch: int
    open_ended: bool
    scores: Mapping[str, bool]
    pipeline_tag: str
    does: tuple[str, str]

    @property
    def target_column(self) -> str:
        """The column that the model learns to write."""
        return list(self.columns)[-1]

    @property
    def begins_with_eos(self) -> bool:
        """Whether one token both ends a text and begins the next."""
        return self.text_template.startswith(self.eos_token)

    @property
    def ends_with_eos(self) -> bool:
        """Whether a tokenized text ends with its end-of-text token."""
        return self.text_template.endswith(self.eos_token)

    def context(self, batch: Any) -> int:
        """The most tokens that the model sees at once, on either side."""
        return max(getattr(batch, key) for key in self.tensors.values())

    def target_length(self, batch: Any) -> int:
        """The most tokens of a row of labels."""
        return int(getattr(batch, self.tensors["labels"]))

    def micro_batch(self, batch: Any) -> tuple[str, int]:
        """The dotted key that sets how much goes through the model at once, and its value."""
        return f"batch.{self.micro_batch_key}", getattr(batch, self.micro_batch_key)

    def smallest_batch(self, batch: Any) -> int:
        """The smallest possible value of that key: one row, or the tokens of the longest row."""
        return 1 if self.micro_batch_unit == "rows" else min(self.micro_batch(batch)[1], self.context(batch))

    def full_batch(self, batch: Any) -> dict[str, tuple[int, ...]]:
        """The shape (B, T) of each tensor in the largest micro-batch, in which all rows have the greatest length."""
        size = self.micro_batch(batch)[1]
        rows = size if self.micro_batch_unit == "rows" else max(1, size // self.context(batch))
        return {name: (rows, getattr(batch, key)) for name, key in self.tensors.items()}

    def count_targets(self, labels: tuple[int, ...]) -> int:
        """The number of target tokens in labels of this shape (B, T) without padding."""
        rows, length = labels
        return rows * (length - self.unpredicted_labels)


GPT = TaskSpec(
    name="gpt",
    task_class="training.tasks.gpt:GptTask",
    columns={"text": "text"},
    two_languages=False,
    drops_duplicates=False,
    blank_lines_harmless=True,
    special_tokens=("<|endoftext|>", "<pad>", "<unk>"),
    bos_token="<|endoftext|>",  # one token both begins and ends a text, as in GPT-2
    eos_token="<|endoftext|>",
    text_template="<|endoftext|> $A",
    padding_side="left",
    normalizes_text=False,
    auto_class="AutoModelForCausalLM",
    model_mapping="MODEL_FOR_CAUSAL_LM_MAPPING",
    encoder_decoder=False,
    tensors={"input_ids": "block_size", "labels": "block_size"},
    micro_batch_key="micro_batch_size",
    micro_batch_unit="rows",
    unpredicted_labels=1,  # inputs and labels are the same tokens
    small_batch=256,
    open_ended=True,
    scores={},
    pipeline_tag="text-generation",
    does=("it continues text", "it continues {} text"),
)

TRANSLATION = TaskSpec(
    name="translation",
    task_class="training.tasks.translation:TranslationTask",
    columns={"source": "chinese", "target": "english"},  # the names of translation2019zh
    two_languages=True,
    drops_duplicates=True,
    blank_lines_harmless=False,
    # fairseq's order, on which M2M100's positions and CTranslate2's converter rely: with <pad> at 0, its positions would be off by one.
    special_tokens=("<s>", "<pad>", "</s>", "<unk>"),
    bos_token="<s>",
    eos_token="</s>",
    text_template="$A </s>",
    padding_side="right",
    normalizes_text=True,
    auto_class="AutoModelForSeq2SeqLM",
    model_mapping="MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    encoder_decoder=True,
    tensors={"input_ids": "max_source_length", "attention_mask": "max_source_length", "labels": "max_target_length"},
    micro_batch_key="tokens_per_batch",
    micro_batch_unit="tokens",
    unpredicted_labels=0,
    small_batch=500,
    open_ended=False,
    scores={"bleu": True, "chrf": True},
    pipeline_tag="translation",
    does=("it translates", "it translates {} into {}"),
)

TASKS: dict[str, TaskSpec] = {spec.name: spec for spec in (GPT, TRANSLATION)}

SCORES = {name: higher for spec in TASKS.values() for name, higher in spec.scores.items()}

METRICS = (*LOSSES, *SCORES)  # the objectives of a study are among these

HIGHER_IS_BETTER = tuple(name for name, higher in SCORES.items() if higher)
