"""Values that no run can have: null, nan, endless and negative numbers, wherever they stand."""

from typing import Annotated, get_args

import pytest
import yaml
from annotated_types import Ge, Gt, Le, Lt
from test_config import GOOD, problems

from training.base.errors import ConfigError
from training.settings import bounds, checks
from training.settings.config import Config, CorpusConfig, SourceConfig, TrainConfig
from training.settings.load import check_config, load_config, parse_args


def tree_with(key, value):
    tree = yaml.safe_load(GOOD)
    holder = tree
    for part in key.split(".")[:-1]:
        holder = holder.setdefault(part, {})
    holder[key.split(".")[-1]] = value
    return yaml.safe_dump(tree)


@pytest.mark.parametrize("key", checks.fields_below(Config))
def test_null_is_refused_wherever_there_is_no_such_value(write, key):
    path = write(tree_with(key, None))
    hint = checks.fields_below(Config)[key]
    if type(None) in get_args(hint):
        try:
            load_config(path)
        except ConfigError as error:
            assert key == "train.max_steps" and "no horizon" in str(error)
    else:
        assert problems("--config", path)[0].startswith(f"{path}: {key}: null is not valid here; wanted ")


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ({"path": None}, "corpus.train.path: null is not valid here; wanted a text"),
        ({"path": "a.txt", "weight": None}, "corpus.train.weight: null is not valid here; wanted a number"),
        ([{"path": "a.txt", "split": None}], "corpus.train.split: null is not valid here; wanted a text"),
        ([None], "corpus.train: None is not valid here; wanted a path, or keys and values"),
    ],
)
def test_null_inside_a_source(write, source, wanted):
    found = problems("--config", write(tree_with("corpus.train", source)))
    assert any(wanted in line for line in found), found


def test_null_on_the_command_line(write):
    assert "wanted a number" in problems("--config", write(GOOD), "--optim.eps", "null")[0]
    assert problems("--config", write(GOOD), "--model.type", "null") == [
        "model.type: None is not valid here; name a model of transformers, e.g. qwen3 or m2m_100"
    ]


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("run_dir", "", "run_dir: is empty; name a folder, e.g. runs/verses"),
        ("run_dir", " ", "run_dir: is empty; name a folder, e.g. runs/verses"),
        ("run_dir", "a\0b", "run_dir: 'a\\x00b' has a NUL character in it, which no path can"),
        ("corpus.train", ["a\0b"], "corpus.train: 'a\\x00b' has a NUL character in it, which no path can"),
        ("seed", -1, "seed: -1 must lie between 0 and 4294901759"),
        ("seed", 2**32 - 65536, "seed: 4294901760 must lie between 0 and 4294901759"),
        ("seed", 10**30, f"seed: {10**30} must lie between 0 and 4294901759"),
        ("tokenizer.joint", False, "tokenizer.joint: false needs two languages and merges to learn: task translation, tokenizer.type bpe"),
        ("optim.eps", 0, "optim.eps: 0.0 is not a positive number"),
        ("optim.eps", -1e-8, "optim.eps: -1e-08 is not a positive number"),
        ("model.dropout", float("nan"), "model.dropout: nan is not a finite number"),
        ("model.attention_dropout", -1, "model.attention_dropout: -1 must be at least 0 and below 1"),
        ("model.n_layer", 10**30, f"model.n_layer: {10**30} is too large; at most 2147483647"),
        ("train.max_tokens", 10**16, "train.max_tokens: 10000000000000000 is too large; at most 1000000000000000"),
        ("corpus.train", {"path": "a", "weight": 1e300}, "corpus.train: weight 1e+300 of a is too large; at most 1000"),
        ("corpus.train", {"path": "a", "weight": float("inf")}, "corpus.train: weight inf of a is not a finite number"),
        ("corpus.train", [{"path": "a", "weight": float("nan")}], "corpus.train: weight nan of a is not a finite number"),
    ],
)
def test_a_value_that_no_run_can_have(write, key, value, wanted):
    assert problems("--config", write(tree_with(key, value))) == [wanted]


def test_a_large_corpus_and_the_largest_seed_are_fine(write):
    assert load_config(write(tree_with("train.max_tokens", 10**12))).train.max_tokens == 10**12
    assert load_config(write(tree_with("seed", 2**32 - 65537))).seed == 2**32 - 65537


def test_bounds_in_words():
    for value, hint, wanted in (
        (0, Annotated[int, Gt(0)] | None, "is not a positive number"),
        (-1, Annotated[int, Ge(0)], "must not be negative"),
        (1, Annotated[float, Ge(0), Lt(1)], "must be at least 0 and below 1"),
        (2, Annotated[float, Ge(0), Le(1)], "must lie between 0 and 1"),
        (1, Annotated[int, Ge(2)], "is too small; at least 2"),
        (11, Annotated[int, Gt(0), Le(10)], "is too large; at most 10"),
        (2**31, int, "is too large; at most 2147483647"),
        (float("nan"), float, "is not a finite number"),
        (2.0**40, float, ""),
        (1, Annotated[int, Gt(0)], ""),
    ):
        assert bounds.wrong(value, bounds.bounds(hint)) == wanted, (value, hint)


def test_digits_of_an_input_method_are_digits(write):
    config = parse_args(["--config", write(GOOD), "--train.max_steps", "１２", "--optim.learning_rate", "０．００２"])
    assert (config.train.max_steps, config.optim.learning_rate) == (12, 0.002)


def test_a_config_made_in_python_is_held_to_the_same_bounds():
    config = Config(
        task="gpt", model={"type": "gpt2"}, corpus=CorpusConfig(train=[SourceConfig("a", weight=0.0)]), train=TrainConfig(max_steps=-1)
    )
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    assert str(caught.value).splitlines() == [
        "corpus.train: weight 0.0 of a is not a positive number",
        "train.max_steps: -1 is not a positive number",
    ]


LEAVES = checks.fields_below(Config)


@pytest.mark.parametrize("key", [k for k, hint in LEAVES.items() if hint is float or float in get_args(hint)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_every_float_must_be_finite(write, key, value):
    assert problems("--config", write(tree_with(key, value))) == [f"{key}: {value} is not a finite number"]


@pytest.mark.parametrize("key", [k for k, hint in LEAVES.items() if (hint is int or int in get_args(hint)) and k != "seed"])
def test_every_count_has_an_upper_bound(write, key):
    assert problems("--config", write(tree_with(key, 10**30)))[0].startswith(f"{key}: {10**30} is too large; at most ")
