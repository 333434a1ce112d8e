"""The weights of a model folder, computed by torch. It implements `Backend` in shelf.py: token ids in, token ids out.

Shapes: B sequences, S source tokens, T tokens of a prompt or target, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.streamers import BaseStreamer
from transformers.utils import logging as transformers_logging

from inference.folders import ModelInfo
from training.base.pretrained import read_model

BATCH_LINES = 16  # source lines in a batch

transformers_logging.disable_progress_bar()  # a bar for every loaded model would fill the server's log


class WeightsError(Exception):
    """Weights that config.json asks for are missing. transformers would only warn and initialise them at random."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature 0 is greedy, so that of the others only the penalty has an effect."""

    temperature: float
    top_k: int  # 0 = off
    top_p: float  # 1 = off
    repetition_penalty: float  # 1 = off
    max_new_tokens: int
    seed: int


class TorchBackend:
    """The weights of one folder in float32, on a GPU if there is one. Not thread-safe: the engine holds a lock."""

    def __init__(self, info: ModelInfo) -> None:
        """Load the weights. Raises WeightsError if some are missing, and whatever transformers raises for a damaged folder."""
        auto_class = "AutoModelForCausalLM" if info.task == "gpt" else "AutoModelForSeq2SeqLM"
        model, report = read_model(
            info.path,
            auto_class,
            dtype=torch.float32,  # half precision is slower than float32 on most CPUs
            output_loading_info=True,
        )
        if report["missing_keys"] or report["mismatched_keys"]:
            raise WeightsError(sorted(map(str, report["missing_keys"]))[:5])
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = model.to(self.device).eval()
        self.config = self.model.config
        # Every request sets max_new_tokens, and transformers would warn each time that both are set.
        self.model.generation_config.max_length = None
        eos = self.model.generation_config.eos_token_id
        if eos is None:
            eos = self.config.eos_token_id
        self.eos_ids = frozenset(eos if isinstance(eos, list) else [] if eos is None else [eos])
        pad = self.config.pad_token_id
        self.pad_id = pad if pad is not None else next(iter(sorted(self.eos_ids)), 0)
        self.vocabulary = int(self.model.get_input_embeddings().weight.shape[0])

    def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        put: Callable[[int], None],
        stopped: Callable[[], bool],
    ) -> None:
        """Continue `prompt_ids` and pass each new token, the end token included, to `put`.

        Ends at the end token, after `max_new_tokens`, or at most one token after `stopped` becomes true.
        """
        ids = torch.tensor([list(prompt_ids)], device=self.device)  # (1, T)
        with torch.inference_mode():
            self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                # generate() decodes greedily what _Choose leaves: that draws with a generator of its own. All requests
                # of the process share torch's global one, so that a seed would not repeat a result.
                do_sample=False,
                num_beams=1,
                max_new_tokens=sampling.max_new_tokens,
                pad_token_id=self.pad_id,
                use_cache=True,
                logits_processor=_processors(sampling),
                stopping_criteria=StoppingCriteriaList([_Stop(stopped)]),
                streamer=_Streamer(put),
            )

    def translate(self, sources: Sequence[Sequence[int]], num_beams: int, max_new_tokens: int) -> list[list[int]]:
        """Target ids of each source, in the order given. A target ends with the end token unless `max_new_tokens` was reached.

        Sources of similar length share a batch, so that there is little padding.
        """
        results: list[list[int]] = [[] for _ in sources]
        for batch in _batches(sources):
            longest = max(len(sources[i]) for i in batch)
            ids = torch.full((len(batch), longest), self.pad_id)  # (B, S)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(batch):
                ids[row, : len(sources[i])] = torch.tensor(list(sources[i]))
                mask[row, : len(sources[i])] = 1
            with torch.inference_mode():
                output = self.model.generate(
                    ids.to(self.device),
                    attention_mask=mask.to(self.device),
                    do_sample=False,
                    num_beams=num_beams,
                    max_new_tokens=max_new_tokens,
                    pad_token_id=self.pad_id,
                    use_cache=True,
                )  # (B, 1 + T): the decoder's start token first
            for row, i in enumerate(batch):
                target = output[row, 1:].tolist()
                end = next((k for k, token in enumerate(target) if token in self.eos_ids), None)
                results[i] = target if end is None else target[: end + 1]
        return results


def _batches(sources: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Indices of the sources, by length, in batches of BATCH_LINES."""
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    for start in range(0, len(order), BATCH_LINES):
        yield order[start : start + BATCH_LINES]


def _processors(sampling: Sampling) -> LogitsProcessorList:
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        # The first token is bos, which is also eos: penalised as a repetition, the text would never end.
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty, prompt_ignore_length=1))
    if sampling.temperature > 0:
        processors.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            processors.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            processors.append(TopPLogitsWarper(sampling.top_p))
    processors.append(_Choose(sampling))
    return processors


class _Choose(LogitsProcessor):
    """Draws the next token and sets the scores of all others to -inf. Raises FloatingPointError if the scores are not finite."""

    def __init__(self, sampling: Sampling) -> None:
        self.greedy = sampling.temperature <= 0
        self.random = torch.Generator().manual_seed(sampling.seed)  # on the CPU: the same draw on every device

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        # scores: (1, V); earlier processors have set excluded tokens to -inf
        if torch.isnan(scores).any() or not torch.isfinite(scores.max()):
            raise FloatingPointError("the model's scores are not finite")
        if self.greedy:
            return scores
        probabilities = torch.softmax(scores.float().cpu(), dim=-1)
        token = torch.multinomial(probabilities, 1, generator=self.random)  # (1, 1)
        chosen = torch.full_like(scores, float("-inf"))
        chosen[0, int(token)] = 0.0
        return chosen


class _Stop(StoppingCriteria):
    """Ends the generation once `stopped` returns true."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self.stopped = stopped

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> torch.BoolTensor:
        return torch.full((input_ids.shape[0],), self.stopped(), device=input_ids.device)


class _Streamer(BaseStreamer):
    """Passes on each new token. generate() calls `put` with the prompt first, which is skipped."""

    def __init__(self, put: Callable[[int], None]) -> None:
        self._put = put
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        if self._prompt_seen:
            for token in value.flatten().tolist():
                self._put(token)
        self._prompt_seen = True

    def end(self) -> None:
        pass
