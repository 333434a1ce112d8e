"""Evaluation during a run: the loss on held-out rows over all processes, sample texts and their scores."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from training.base.console import Progress
from training.base.words import phrases, spoken
from training.corpus.batches import to_tensors
from training.corpus.filters import is_chinese
from training.settings.config import Config
from training.setup.data import Data
from training.setup.processes import Processes

if TYPE_CHECKING:
    from training.quality.copied_text import NgramIndex

# The training texts that samples are compared with. The index has 32 MiB; about 120M different n-grams would overfill it.
INDEXED_ROWS, INDEXED_CHARACTERS = 200_000, 50_000_000


class Evaluation:
    """Measures the model of a run at its evaluations."""

    def __init__(self, config: Config, data: Data, accelerator: Accelerator, processes: Processes):
        self.config, self.data, self.accelerator, self.processes = config, data, accelerator, processes
        self.sharded = accelerator.distributed_type == DistributedType.FSDP
        self.index: NgramIndex | None = None
        self.words = phrases("training", spoken(config.log.language))

    def measure(self, model: torch.nn.Module, network: PreTrainedModel) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Measure the model and write samples. Every process has to call.

        Args:
            model: `network` as accelerate wrapped it, for the loss.
            network: the unwrapped model, for generation.

        Returns:
            the numbers, the same in every process, and the samples to show, which are the main process's.
        """
        model.eval()
        result = self._loss(model if self.sharded else network)
        samples: list[dict[str, Any]] = []
        # Sharded weights are gathered layer by layer, so every process has to take part in the generation.
        if self.processes.main or self.sharded:
            with self.accelerator.autocast():
                samples = self.data.task.samples(network, self.data.held_out, self.config.seed)
        model.train()
        for module in network.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # a forward pass without a backward one leaves the outermost weights gathered
        if self.processes.main:
            result |= self.scores(samples)
        scored = [s for s in samples if s.get("reference")]  # BLEU needs more samples than anybody reads
        shown = scored[: self.config.evaluation.samples] + [s for s in samples if not s.get("reference")]
        return self.processes.from_main(result), shown

    def _loss(self, model: torch.nn.Module) -> dict[str, Any]:
        """`Perplexity` of the held-out rows over all processes; empty if there are no such rows."""
        batches, world = self.data.held_out_batches, self.processes.world
        if not batches:
            return {}
        turns = -(-len(batches) // world)  # sharded weights need the same number of batches in every process
        loss_sum, tokens_sum = torch.zeros(2, dtype=torch.float64)
        bar = Progress(self.words["evaluating"], total=turns, shown=self.processes.main, left=self.words["left"])
        with torch.no_grad(), self.accelerator.autocast():
            for turn in range(turns):
                k = turn * world + self.processes.rank
                batch = {n: v.to(self.processes.device) for n, v in to_tensors(batches[k % len(batches)]).items()}
                loss, tokens = self.data.task.loss(model, batch)
                if k < len(batches):
                    loss_sum += loss.cpu().double()
                    tokens_sum += tokens.cpu()
                bar.to(turn + 1)
        bar.close()
        total, tokens = self.processes.sum(float(loss_sum), float(tokens_sum))
        from training.quality.metrics import Perplexity

        characters = max(1, self.data.task.characters(self.data.held_out))
        perplexity: dict[str, Any] = Perplexity().compute(loss_sum=[total], tokens=[int(tokens)], characters=[characters])
        return perplexity

    def scores(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """The scores of samples: for an open-ended task those of `text_metrics`, for pairs those of `translation_metrics`."""
        from training.quality import copied_text  # metrics take seconds to import, so not before they are needed
        from training.quality.metrics import bleu_tokenizer, text_metrics, translation_metrics

        pairs = [(s["text"], s["reference"]) for s in samples if s.get("reference")]
        if self.config.spec.open_ended and samples:
            if self.index is None:
                texts = self.data.texts(INDEXED_ROWS, INDEXED_CHARACTERS)
                first = list(islice(texts, 50))
                n = 8 if is_chinese("".join(t[:1000] for t in first)) else 30  # eight letters of English occur in any text
                self.index = copied_text.NgramIndex(n).add(chain(first, texts))
            stopped = sum(s["stopped"] for s in samples) / len(samples)
            return {"stopped": stopped} | text_metrics(self.index).compute(predictions=[s["text"] for s in samples])
        if pairs:
            predictions, references = map(list, zip(*pairs))
            metrics = translation_metrics(bleu_tokenizer(references))
            scores: dict[str, Any] = metrics.compute(predictions=predictions, references=references)
            return scores
        return {}


def evaluation_line(step: int, result: dict[str, Any], samples: list[dict[str, Any]], words: dict[str, Any]) -> str:
    """An evaluation in one line, with the first sample. `words`: the phrases of the book `training`."""
    numbers = words["comma"].join(text.format(result[k]) for k, text in words["numbers"].items() if result.get(k) is not None)
    line = str(words["evaluated"].format(step=step, numbers=numbers))
    if samples:
        line += f"  {samples[0]['prompt'][:40]} → {samples[0]['text'][:60]}"
    return line.replace("\n", "⏎")
