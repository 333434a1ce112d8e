"""Configs: what a user writes is understood, and what is wrong is told all at once with what would be right."""

import glob
import subprocess
import sys
from pathlib import Path

import pytest

from training import config as configs
from training.config import ConfigError

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(glob.glob("configs/gpt/*.yaml", root_dir=ROOT) + glob.glob("configs/translation/*.yaml", root_dir=ROOT))
GOOD = """
task: gpt
model: {type: gpt2, n_layer: 2}
corpus: {train: a.txt}
train: {max_steps: 3}
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def problems(*argv):
    with pytest.raises(ConfigError) as caught:
        configs.parse_args(list(argv))
    return str(caught.value).splitlines()


def test_what_is_missing_because_it_was_wrong_is_not_told_twice(write):
    assert len(problems("--config", write(GOOD.replace("{train: a.txt}", "a.txt").replace("max_steps: 3", "max_steps: 1e5")))) == 2


def test_several_mistakes_are_told_together(write):
    path = write("""
task: gpt
model: {type: gpt2}
optim: {learning_rate: fast, warmup_step: 3, schedule: cosin}
batch: {block_size: 1.5, micro_batch_size: 0}
train: {max_steps: -1}
corpus: {train: [{path: a.txt, weight: heavy}, {weight: 2}]}
""")
    found = problems("--config", path, "--evaluation.temperature", "-1")
    assert len(found) == 9, found
    for wanted in (
        f"{path}: unknown key optim.warmup_step; did you mean optim.warmup_steps?",
        f"{path}: optim.learning_rate: 'fast' is not valid here; wanted a number",
        f"{path}: optim.schedule: 'cosin' is not valid here; wanted one of constant, linear, cosine, inverse_sqrt, wsd",
        f"{path}: batch.block_size: 1.5 is not valid here; wanted a whole number",
        f"{path}: corpus.train.weight: 'heavy' is not valid here; wanted a number",
        f"{path}: corpus.train: {{'weight': 2}} has no path",
        "batch.micro_batch_size: 0 is not a positive number",
        "train.max_steps: -1 is not a positive number",
        "evaluation.temperature: -1.0 must not be negative",
    ):
        assert wanted in found, (wanted, found)


def test_an_unknown_key_names_the_nearest_valid_one(write):
    assert "did you mean optim.learning_rate?" in problems("--config", write(GOOD + "learning_rate: 3\n"))[0]
    assert "did you mean corpus.filters.max_ratio?" in problems("--config", write(GOOD), "--corpus.filters.maxratio", "3")[0]
    assert "valid: name, learning_rate" in problems("--config", write(GOOD), "--optim.zzzz", "3")[0]
    assert "did you mean corpus.train.weight?" in problems("--config", write(GOOD.replace("a.txt", "{path: a, weigt: 2}")))[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("- a", "not a mapping"),
        ("", "not a mapping"),
        ("a: [", "not valid YAML"),
        (GOOD.replace("task: gpt", ""), "task: missing; gpt or translation"),
        (GOOD.replace("gpt\n", "poem\n"), "wanted one of gpt, translation"),
        (GOOD.replace("{train: a.txt}", "a.txt"), "corpus: 'a.txt' is not valid here; wanted keys and values: train"),
        (GOOD + "optim:\n", "optim: is empty"),
        (GOOD.replace("max_steps: 3", ""), "no horizon"),
        (GOOD.replace("type: gpt2, ", ""), "model.type: missing"),
        (GOOD + "batch: {block_size: 1}", "batch.block_size: 1 token is not enough"),
        (GOOD.replace("a.txt", "a.txt, columns: {txt: x}"), "no column is called 'txt' here; valid: text"),
        (GOOD.replace("a.txt", "a.txt, validation: {path: b, columns: {source: x}}"), "corpus.validation: b: columns: no column"),
        (GOOD.replace("a.txt", "{path: a.txt, weight: 0}"), "weight 0.0 of a.txt must be positive"),
        (GOOD + "evaluation: {prompts: hello}", "evaluation.prompts: 'hello' is not valid here; wanted a list, each a text"),
        (GOOD + "resume: maybe", "resume: 'maybe' is not valid here; wanted true or false"),
    ],
)
def test_one_mistake_one_line(write, text, wanted):
    found = problems("--config", write(text))
    assert len(found) == 1 and wanted in found[0], found


def test_a_config_that_is_not_there():
    assert problems("--config", "/nowhere/x.yaml")[0] == "/nowhere/x.yaml: cannot be read (No such file or directory)"


def test_the_command_line_overrides_the_file(write):
    c = configs.parse_args([
        "--config", write(GOOD), "--model.num_hidden_layers", "4", "--model.n_layer=1", "--model.tie_word_embeddings", "false",
        "--optim.learning_rate", "1e-3", "--corpus.train", "[b.txt, {path: c.txt, weight: 0.5}]", "--resume", "true",
        "--train.max_steps", "null", "--train.max_minutes", "2", "--corpus.filters.min_chars", "7",
    ])  # fmt: skip
    assert c.model == {"type": "gpt2", "n_layer": 1, "num_hidden_layers": 4, "tie_word_embeddings": False}
    assert (c.optim.learning_rate, c.resume, c.train.max_steps, c.train.max_minutes) == (1e-3, True, None, 2.0)
    assert [(s.path, s.weight) for s in configs.sources(c.corpus.train)] == [("b.txt", 1.0), ("c.txt", 0.5)]
    assert c.corpus.filters.min_chars == 7 and c.corpus.filters.duplicates
    assert problems("--config", write(GOOD), "--optim.learning_rate", "fast")[0].startswith("the command line: optim.learning_rate")
    assert "wanted true or false" in problems("--config", write(GOOD), "--resume")[0]
    assert "unrecognized" in problems("--config", write(GOOD), "stray")[0]


def test_dump_and_load_give_the_same_config(write, tmp_path):
    c = configs.parse_args([
        "--config", write(GOOD), "--corpus.train", "[b.txt, {path: c.jsonl, where: {source: [a, 1]}, columns: {text: 正文}}]",
        "--optim.learning_rate", "1e-5", "--evaluation.prompts", "['', 鸟]", "--optim.eps", "1e-12",
    ])  # fmt: skip
    (tmp_path / "again.yaml").write_text(configs.dump(c), encoding="utf-8")
    assert configs.load(tmp_path / "again.yaml") == c
    assert "鸟" in configs.dump(c)


def test_help_explains_the_fields():
    run = subprocess.run(
        [sys.executable, "training/train.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "COLUMNS": "300"},
    )
    assert run.returncode == 0, run.stderr
    shown = " ".join(run.stdout.split())
    for wanted in (
        "--optim.warmup_steps", "Optimizer steps from zero to the peak.", "--corpus.strict", "Stop at the first bad row",
        "Pairs whose sides' lengths", "--model", "(required", "default: 16384",
    ):  # fmt: skip
        assert wanted in shown, wanted


def test_reading_a_config_imports_nothing_heavy(write):
    code = (
        "import sys; from training import config; config.load(sys.argv[1]);"
        "print([m for m in ('torch', 'transformers', 'datasets', 'numpy', 'accelerate') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code, write(GOOD)], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


@pytest.mark.parametrize("path", CONFIGS)
def test_every_config_of_the_repository_loads(path):
    c = configs.load(ROOT / path)
    assert c.task == Path(path).parent.name


def test_every_config_begins_by_saying_what_it_shows():
    assert [path for path in CONFIGS if not (ROOT / path).read_text(encoding="utf-8").startswith("#")] == []


def test_a_bare_command_says_how_to_begin() -> None:
    with pytest.raises(ConfigError, match=r"--config configs/gpt/verses\.yaml"):
        configs.parse_args([])
