"""What a run needs in its folder before the first step: corpus, tokenizer and task; and a model with a precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.tracking import get_available_trackers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from training.base.console import Progress
from training.base.errors import ConfigError, Stopped
from training.base.files import as_config_error, digest, disk_error, replacing, write_text
from training.base.words import phrases, spoken
from training.corpus.batches import Batch, to_tensors
from training.corpus.order import Corpus
from training.corpus.prepare import corpus_summary, open_corpus
from training.corpus.shards import Shard
from training.model.build import checkpoint_activations, model_config, new_model
from training.model.hardware import pick_precision
from training.model.tokenizer import StandIn, load_tokenizer, train_tokenizer, vocabulary_report
from training.settings.config import Config
from training.setup.processes import Processes
from training.setup.run_folder import config_of_run, set_aside
from training.tasks.base import Task, TokenCache, task_class

VOCABULARY_ROWS, VOCABULARY_CHARACTERS = 30_000, 4_000_000  # the part of the corpus that the vocabulary report is made on
TOKENIZER_CHARACTERS = 200_000_000  # the most that a tokenizer is trained on, whatever `sample_rows` allows: they are held in memory
SAMPLE_ROWS, SAMPLE_CHARACTERS = 2000, 16_000_000  # the part of the corpus that is at hand for choices such as packing


def check_before_reading(config: Config, processes: Processes) -> None:
    """Look for mistakes that can be found without the corpus and without weights; raises ConfigError with all of them."""
    problems = []
    context = config.spec.context(config.batch)
    checks: list[Callable[[], Any]] = [lambda: model_config(config.task, config.model, StandIn(1000), context)]
    if config.tokenizer.path:
        checks.append(lambda: load_tokenizer(str(config.tokenizer.path), config.task))
    for check in checks:
        try:
            check()
        except ConfigError as error:
            problems.append(str(error))
    if config.train.mixed_precision == "fp16" and processes.device.type == "cpu":
        problems.append("train.mixed_precision: fp16 needs a GPU; use auto, no or bf16")
    trackers = [str(t) for t in get_available_trackers()]
    if config.log.log_with and config.log.log_with not in trackers:
        problems.append(f"log.log_with: no tracker {config.log.log_with!r} is installed here; installed: {', '.join(trackers) or 'none'}")
    if problems:
        raise ConfigError("\n".join(problems))


@dataclass
class Data:
    """The data that a run trains and evaluates on.

    Attributes:
        validation: the corpus that held-out rows come from; `corpus` itself if the config names no other.
        sample: some training rows.
        held_out: the validation rows that fit into a batch.
        contents: a label and a hash for each shard, see `contents_of`.
    """

    processes: Processes
    corpus: Corpus
    validation: Corpus
    tokenizer: PreTrainedTokenizerFast
    task: Task
    sample: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    held_out_batches: list[Batch]
    contents: list[list[str]]

    def texts(self, rows: int, characters: int) -> Iterator[str]:
        """Texts of the first column of training rows: at most `rows` of them, with about `characters` characters in all."""
        first = next(iter(self.task.spec.columns))
        return (row[first] for row in self.corpus.some(rows, characters))


def open_data(
    config: Config, processes: Processes, token_cache: TokenCache | None = None, fresh: bool = False, resumed: Path | None = None
) -> Data:  # fmt: skip
    """Scan the corpus and train the tokenizer on the main process; the others read what it left in the run folder.

    Args:
        token_cache: shared by callers that train several runs on the same rows.
        fresh: whether a run begins here; records of an earlier run are then set aside, once the corpus has been read.
        resumed: the checkpoint that a run goes on from; it has the run's tokenizer too.

    Raises:
        ConfigError: if the corpus or the tokenizer cannot be used.
        Stopped: if the disk refuses the tokenizer.
    """
    words = _words(config)

    def read() -> tuple[Corpus, Corpus, PreTrainedTokenizerFast, list[list[str]]]:
        bar = Progress(words["reading_corpus"], shown=processes.main)
        corpus, validation = open_corpus(
            config.corpus, config.task, Path(config.run_dir) / "corpus", config.seed, config.evaluation.max_rows, bar.to
        )
        bar.close()
        processes.say(words["corpus"].format(line=corpus_summary(corpus.report, words)))
        if validation is not corpus:
            processes.say(words["validation"].format(line=corpus_summary(validation.report, words)))
        shards = corpus.shards + (validation.shards if validation is not corpus else [])
        if fresh and processes.main and (aside := set_aside(Path(config.run_dir))):
            processes.say(words["set_aside"].format(place=aside))
        tokenizer = _tokenizer(config, corpus, processes, resumed)
        return corpus, validation, tokenizer, contents_of(shards, Path(config.run_dir) / "corpus/contents.json")

    corpus, validation, tokenizer, contents = processes.in_turn(read)
    sample = list(corpus.some(SAMPLE_ROWS, SAMPLE_CHARACTERS))
    if not sample:
        raise ConfigError("corpus.train: no row is left in an epoch; raise the weights of its sources")
    task = task_class(config.task)(config, tokenizer, sample, token_cache)
    held_out = list(validation.held_out(config.evaluation.max_rows))
    batches, left_out = task.make_batches(held_out, None) if held_out else ([], 0)
    if left_out:  # the scores are of the rows that the loss is of
        kept = {(int(s), int(r)) for b in batches for s, r in b["rows"]}
        held_out = [row for row in held_out if (row["_shard"], row["_row"]) in kept]
        processes.say(words["too_long"].format(n=left_out))
    return Data(processes, corpus, validation, tokenizer, task, sample, held_out, batches, contents)


def contents_of(shards: list[Shard], remembered: Path) -> list[list[str]]:
    """The label of each shard and a hash of its files' bytes: a resumed run needs the same bytes, wherever the files are now.

    Args:
        remembered: a file with the hashes of the last call. A file whose size and time are unchanged is not read again.

    Returns:
        [label, hash] for each shard; the hash is "" for a dataset of the hub, which has no files here.
    """
    before: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        before = json.loads(remembered.read_text(encoding="utf-8"))
    by_path: dict[str, list[Any]] = {}  # path: [size, time, hash]
    contents = []
    for shard in shards:
        whole = hashlib.blake2b(digest_size=16)
        files = shard.fingerprint()[1:]
        for path, size, time in files:
            if path not in by_path:
                entry = before.get(path) if isinstance(before, dict) else None
                same = isinstance(entry, list) and entry[:2] == [size, time] and len(entry) == 3
                with as_config_error(f"{path}: cannot be read"):
                    by_path[path] = entry if same and entry else [size, time, digest(path, hashlib.blake2b(digest_size=16))]
            whole.update(str(by_path[path][2]).encode())
        contents.append([shard.label, whole.hexdigest() if files else ""])
    if by_path != before:  # the other processes find what the main one wrote
        with as_config_error(f"run_dir: cannot write in {remembered.parent}"):
            write_text(remembered, json.dumps(by_path))
    return contents


def changed_contents(before: list[list[str]], now: list[list[str]]) -> str:
    """Which shards of the corpus have changed, in words; empty if none has. Both arguments are as `contents_of` returns them."""
    was, is_now = ([checksum or label for label, checksum in shards] for shards in (before, now))  # a dataset of the hub has its name alone
    if was == is_now:
        return ""
    names = [label for label, checksum in now if (checksum or label) not in was] or [label for label, _ in now]
    return f"the content of {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"


def _words(config: Config) -> dict[str, Any]:
    """The phrases for progress and for the corpus, in the run's language."""
    language = spoken(config.log.language)
    return {**phrases("training", language), **phrases("report", language)}


def _tokenizer(config: Config, corpus: Corpus, processes: Processes, resumed: Path | None) -> PreTrainedTokenizerFast:
    """The run's tokenizer: the one that it began with, else the one that the config names, else a newly trained one."""
    saved = Path(config.run_dir) / "tokenizer"
    if resumed:
        return load_tokenizer(resumed, config.task)
    if not (saved / "tokenizer.json").is_file():
        if config.tokenizer.path:
            tokenizer = load_tokenizer(config.tokenizer.path, config.task)
        else:
            words = _words(config)
            bar = Progress(words["reading_tokenizer"], shown=processes.main)

            def texts() -> Iterator[str]:
                n = 0
                for row in corpus.some(config.tokenizer.sample_rows, TOKENIZER_CHARACTERS):
                    for column in config.spec.columns:
                        n += 1
                        bar.to(n)
                        yield row[column]
                bar.what = words["training_tokenizer"]

            tokenizer = train_tokenizer(config.tokenizer, texts(), config.task)
            bar.close()
        try:
            with replacing(saved) as folder:
                tokenizer.save_pretrained(folder)
        except Exception as error:
            if not (why := disk_error(error)):
                raise
            raise Stopped(f"the tokenizer cannot be written to {saved}: {why}; there is no checkpoint yet") from None
    return load_tokenizer(saved, config.task)


def build_model(config: Config, data: Data) -> PreTrainedModel:
    """A model with fresh weights, on the CPU."""
    context = data.task.context
    architecture = model_config(config.task, config.model, data.tokenizer, context)
    net = new_model(config.task, architecture, context, min(config.evaluation.max_new_tokens, context), config.seed)
    if config.train.gradient_checkpointing:
        checkpoint_activations(net)
    return net


def look_at_vocabulary(data: Data, parameters: int) -> dict[str, Any]:
    """The vocabulary report (`tokenizer.vocabulary_report`), the same in every process. `parameters`: how many the vocabulary takes."""
    report: dict[str, Any] = {}
    if data.processes.main:  # the others need not read and count as well
        rows = list(data.corpus.some(VOCABULARY_ROWS, VOCABULARY_CHARACTERS))
        columns = {k: [r[k] for r in rows] for k in data.task.spec.columns}
        report = vocabulary_report(data.tokenizer, columns, parameters)
    return data.processes.from_main(report)


def choose_precision(
    config: Config, data: Data, net: PreTrainedModel, processes: Processes, resumed: bool
) -> tuple[Config, str, dict[str, float] | None]:
    """Resolve `auto` as the run began, or by timing a step.

    Returns:
        the config with the precision; what was measured, in words; and the seconds measured, None if the precision was set by hand.
    """
    precision: Any = config.train.mixed_precision
    measured = ""
    seconds: dict[str, float] | None = {} if precision == "auto" else None
    if precision == "auto" and resumed:
        precision = config_of_run(Path(config.run_dir)).train.mixed_precision
    if precision == "auto":
        batches, _ = data.task.make_batches(data.sample[:512], None)
        batch = {k: v.to(processes.device) for k, v in to_tensors(batches[len(batches) // 2]).items()} if batches else None

        def step(dtype: torch.dtype | None) -> None:
            assert batch is not None
            with torch.autocast(processes.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                loss, _ = data.task.loss(net, batch)
            loss.backward()
            net.zero_grad()

        choice = pick_precision(processes.device, step) if processes.main and batch else ("no", "", {})
        precision, measured, seconds = processes.from_main(choice)
    return replace(config, train=replace(config.train, mixed_precision=precision)), measured, seconds
