"""Configs: what a user writes is understood, and what is wrong is told all at once with what would be right."""

import ast
import glob
import importlib
import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from training.base.errors import ConfigError
from training.settings.config import dump_config, source_list
from training.settings.load import load_config, parse_args

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(glob.glob("configs/gpt/*.yaml", root_dir=ROOT) + glob.glob("configs/translation/*.yaml", root_dir=ROOT))
GOOD = """
task: gpt
model: {type: gpt2, n_layer: 2}
corpus: {train: a.txt}
train: {max_steps: 3}
"""


def problems(*argv):
    with pytest.raises(ConfigError) as caught:
        parse_args(list(argv))
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
        (GOOD + "batch: {block_size: 1}", "batch.block_size: 1 is too small; at least 2"),
        (GOOD.replace("a.txt", "a.txt, columns: {txt: x}"), "no column is called 'txt' here; valid: text"),
        (GOOD.replace("a.txt", "a.txt, validation: {path: b, columns: {source: x}}"), "corpus.validation: b: columns: no column"),
        (GOOD.replace("a.txt", "{path: a.txt, weight: 0}"), "corpus.train: weight 0.0 of a.txt is not a positive number"),
        (GOOD + "evaluation: {prompts: hello}", "evaluation.prompts: 'hello' is not valid here; wanted a list, each a text"),
        (GOOD + "resume: maybe", "resume: 'maybe' is not valid here; wanted true or false"),
    ],
)
def test_one_mistake_one_line(write, text, wanted):
    found = problems("--config", write(text))
    assert len(found) == 1 and wanted in found[0], found


def test_a_config_that_is_not_there():
    assert problems("--config", "/nowhere/x.yaml")[0] == "/nowhere/x.yaml: no such file"
    assert (
        problems("--config", "configs/gpt/verse.yaml")[0] == "configs/gpt/verse.yaml: no such file; did you mean configs/gpt/verses.yaml?"
    )


def test_the_command_line_overrides_the_file(write):
    c = parse_args([
        "--config", write(GOOD), "--model.num_hidden_layers", "4", "--model.n_layer=1", "--model.tie_word_embeddings", "false",
        "--optim.learning_rate", "1e-3", "--corpus.train", "[b.txt, {path: c.txt, weight: 0.5}]", "--resume", "true",
        "--train.max_steps", "null", "--train.max_minutes", "2", "--corpus.filters.min_chars", "7",
    ])  # fmt: skip
    assert c.model == {"type": "gpt2", "n_layer": 1, "num_hidden_layers": 4, "tie_word_embeddings": False}
    assert (c.optim.learning_rate, c.resume, c.train.max_steps, c.train.max_minutes) == (1e-3, True, None, 2.0)
    assert [(s.path, s.weight) for s in source_list(c.corpus.train)] == [("b.txt", 1.0), ("c.txt", 0.5)]
    assert c.corpus.filters.min_chars == 7 and c.corpus.filters.duplicates
    assert problems("--config", write(GOOD), "--optim.learning_rate", "fast")[0].startswith("the command line: optim.learning_rate")
    assert "wanted true or false" in problems("--config", write(GOOD), "--resume")[0]
    assert "unrecognized" in problems("--config", write(GOOD), "stray")[0]


def test_dump_and_load_give_the_same_config(write, tmp_path):
    c = parse_args([
        "--config", write(GOOD), "--corpus.train", "[b.txt, {path: c.jsonl, where: {source: [a, 1]}, columns: {text: 正文}}]",
        "--optim.learning_rate", "1e-5", "--evaluation.prompts", "['', 鸟]", "--optim.eps", "1e-12",
    ])  # fmt: skip
    (tmp_path / "again.yaml").write_text(dump_config(c), encoding="utf-8")
    assert load_config(tmp_path / "again.yaml") == c
    assert "鸟" in dump_config(c)


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


@pytest.mark.parametrize(
    ("command", "wanted"), [("preflight", "--fit"), ("doctor", "--lang"), ("score", "--beams"), ("sweep", "--repeat_best")]
)
def test_every_command_starts_as_a_script_and_says_what_it_takes(command, wanted, tmp_path):
    run = subprocess.run([sys.executable, str(ROOT / f"training/{command}.py"), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "") and wanted in run.stdout


COMMANDS = ("train", "preflight", "doctor", "sweep", "score", "scoreboard", "translate", "export")


@pytest.mark.parametrize("command", COMMANDS)
def test_lang_and_the_nearest_option_are_the_same_everywhere(command, write, capsys):
    """`--lang` is in every help; an option that is nearly one is a single line and exit 2."""
    main = importlib.import_module(f"training.{command}").main
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert not ended.value.code and "--lang {zh,en}" in shown and "training/" in shown
    files = {"train": write(GOOD), "preflight": write(GOOD), "sweep": "configs/sweep/sentence.yaml"}
    config = ["--config", files[command]] if command in files else []
    assert main([*config, "--lnag", "zh"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and "did you mean --lang?" in told, told
    assert main([*config, "--lang", "fr"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "--lang" in told and "zh" in told and "'fr'" in told, told


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("task：gpt\ncorpus: {train: a.txt}\n", "line 1: ： is full-width, which YAML takes for text; write : and a space"),
        (GOOD.replace("type: gpt2, ", "type: gpt2， "), "line 3: ， is full-width, which YAML takes for text; write , and a space"),
        (GOOD + "optim:\n  columns： {a: 1}\n", "unknown key optim.columns： {a; ： is full-width"),
        (GOOD + "evaluation:\n  prompts: ['甲：乙']\n\tsamples: 2\n", "line 8 begins with a tab (samples: 2); indent with spaces"),
        ('run_dir: "C:\\Users"\n' + GOOD, 'a backslash in double quotes has a meaning of its own (run_dir: "C:\\Users")'),
    ],
)
def test_what_yaml_itself_says_badly(write, text, wanted):
    (told,) = problems("--config", write(text))
    assert wanted in told, told


def test_texts_in_quotes_stay_texts_and_a_bare_no_is_one_where_it_is_a_choice(write):
    model = "model: {type: gpt2, a: 'no', b: '5', c: '[1]', d: {e: 'true'}}"
    c = load_config(
        write(GOOD.replace("model: {type: gpt2, n_layer: 2}", model).replace("max_steps: 3", "max_steps: 3, mixed_precision: no"))
    )
    assert c.model == {"type": "gpt2", "a": "no", "b": "5", "c": "[1]", "d": {"e": "true"}}
    assert c.train.mixed_precision == "no"
    c = parse_args(["--config", write(GOOD), "--train.mixed_precision", "no", "--train.max_steps", "１００", "--model.x.y", "1"])
    assert (c.train.mixed_precision, c.train.max_steps, c.model["x"]) == ("no", 100, {"y": 1})
    assert "True is not valid here; wanted a whole number" in problems("--config", write(GOOD + "seed: true"))[0]


def test_options_add_to_lists_and_to_keys_and_replace_what_is_in_braces(write):
    c = parse_args(["--config", write(GOOD), "--corpus.train+", "b.txt", "--evaluation.prompts+", "[鸟]", "--model.n_head=2"])
    assert c.corpus.train == ["a.txt", "b.txt"] and c.evaluation.prompts == ["", "鸟"] and c.model["n_layer"] == c.model["n_head"] == 2
    assert parse_args(["--config", write(GOOD), "--model", "{type: llama}", "--model.x", "1"]).model == {"type": "llama", "x": 1}
    told = problems("--config", write(GOOD), "—seed", "--optim.eps")
    assert told == [
        "the command line: unrecognized argument —seed; did you mean --seed?",
        "the command line: optim.eps: no value given; wanted a number",
    ]


def test_reading_a_config_imports_nothing_heavy(write):
    code = (
        "import sys; from training.settings.load import load_config; load_config(sys.argv[1]);"
        "print([m for m in ('torch', 'transformers', 'datasets', 'numpy', 'accelerate', 'pydantic', 'jsonargparse') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code, write(GOOD)], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


@pytest.mark.parametrize("path", CONFIGS)
def test_every_config_of_the_repository_loads(path):
    c = load_config(ROOT / path)
    assert c.task == Path(path).parent.name


def test_every_config_begins_by_saying_what_it_shows():
    assert [path for path in CONFIGS if not (ROOT / path).read_text(encoding="utf-8").startswith("#")] == []


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["configs/x.yaml"], "configs/x.yaml"),
        (["--run_dir", "runs/x", "configs/x.yml"], "configs/x.yml"),
        (["--run_dir=runs/x", "configs/x.yaml"], "configs/x.yaml"),
        (["--config"], "configs/gpt/verses.yaml"),
        (["--config="], "configs/gpt/verses.yaml"),
        (["--config", "--run_dir", "runs/x"], "configs/gpt/verses.yaml"),
    ],
)
def test_a_forgotten_config_is_told_with_what_was_meant(argv, meant):
    (told,) = problems(*argv)
    assert told.endswith(f"did you mean --config {meant}?")


def test_no_validation_set_from_the_command_line(write):
    path = write(GOOD.replace("{train: a.txt}", "{train: a.txt, validation: b.txt}"))
    assert parse_args(["--config", path]).corpus.validation == "b.txt"
    assert parse_args(["--config", path, "--corpus.validation", "null"]).corpus.validation is None


def test_a_bare_command_says_how_to_begin() -> None:
    with pytest.raises(ConfigError, match=r"--config configs/gpt/verses\.yaml"):
        parse_args([])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("seed: 1\nseed: 2", "line 7: the key 'seed' is there already, in line 6; keep one of them"),
        ("optim:\n  eps: 1e-8\n  'eps': 1e-9", "line 8: the key 'eps' is there already, in line 7"),
        ("train: {max_steps: 3}", "line 6: the key 'train' is there already, in line 5"),
        ("seed: 2020-13-45", "seed: '2020-13-45' is not valid here; wanted a whole number"),
        ("seed: !!timestamp 2020-13-45", "a value that cannot be read: month must be in 1..12"),
        ("seed: " + "9" * 5000, "a value that cannot be read: Exceeds the limit"),
        ("seed: 0x" + "f" * 5000, "a value that cannot be read: Exceeds the limit"),
        ("log: " + "[" * 3000 + "]" * 3000, "nested too deeply; 100 levels are allowed"),
        ("log: " + "[" * 120 + "]" * 120, "nested more than 100 levels deep"),
        ("log: &a {x: *a}", "an alias (*name) that contains itself"),
        ("log: &a [*a]", "an alias (*name) that contains itself"),
        (
            "a: &a [" + "1, " * 30 + "]\n" + "\n".join(f"{b}: &{b} [" + f"*{a}, " * 30 + "]" for a, b in itertools.pairwise("abcdefgh")),
            "more than 100,000 values, with its aliases (*name) written out",
        ),
        ("log: !!python/object:os.system {}", "not valid YAML"),
    ],
)  # fmt: skip
def test_yaml_that_is_not_plain(write, text, wanted):
    found = problems("--config", write(GOOD + text + "\n"))
    assert len(found) == 1 and wanted in found[0] and len(found[0]) < 400, found


def test_yaml_anchors_merges_and_numbers(write):
    c = load_config(
        write("""
task: gpt
corpus: {train: [&a {path: a.txt, weight: 1e-1}, {<<: *a, path: '2', weight: .5}], filters: &f {min_chars: 2}}
model: {type: gpt2, layer_norm_epsilon: 1e-6, day: 2020-02-01, x: on}
train: {max_steps: 3}
""")
    )
    assert [(s.path, s.weight) for s in source_list(c.corpus.train)] == [("a.txt", 0.1), ("2", 0.5)]
    assert c.model == {"type": "gpt2", "layer_norm_epsilon": 1e-6, "day": "2020-02-01", "x": True}
    assert list(c.model) == ["type", "layer_norm_epsilon", "day", "x"]  # in the order of the file


def test_a_config_that_is_not_utf8(tmp_path):
    (tmp_path / "run.yaml").write_bytes(GOOD.replace("a.txt", "语料.txt").encode("gb18030"))
    assert "not UTF-8" in problems("--config", str(tmp_path / "run.yaml"))[0]


def test_a_config_in_chinese_where_the_locale_is_not_utf8(tmp_path):
    path = tmp_path / "配置.yaml"
    path.write_text(GOOD + "evaluation: {prompts: [飞鸟]}\n", encoding="utf-8")
    code = (
        "import sys; from training.settings.load import parse_args; c = parse_args(sys.argv[1:]);"
        "print(ascii((c.evaluation.prompts, c.corpus.columns, c.model['n_layer'], sys.getfilesystemencoding())))"
    )
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def run(*options):
        return subprocess.run(
            [sys.executable, "-c", code, "--config", str(path), *options], cwd=ROOT, capture_output=True, text=True, env=env
        )

    done = run()
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval(done.stdout)
    assert found[0] == ["飞鸟"] and found[2] == 2
    done = run(f"--config={path}", "--corpus.columns", "{text: 正文}", "--model.n_layer", "5")
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(done.stdout)[:3] == (["飞鸟"], {"text": "正文"}, 5)
    if found[3] != "utf-8":
        assert "run_dir: '\\u98de' cannot be a path under this locale" in run("--run_dir", "飞").stderr


def test_configs_are_read_by_several_threads_at_once(write, tmp_path):
    """As the app does for several visitors; jsonargparse's parsers alone mix them up."""
    (tmp_path / "other.yaml").write_text(GOOD + "seed: 7\n", encoding="utf-8")
    paths = [write(GOOD), str(tmp_path / "other.yaml")] * 10
    with ThreadPoolExecutor(8) as pool:
        assert [c.seed for c in pool.map(load_config, paths)] == [1, 7] * 10


def test_print_config_still_works(tmp_path):
    (tmp_path / "run.yaml").write_text(GOOD + "seed: 7\n", encoding="utf-8")
    command = [sys.executable, "training/train.py", "--config", str(tmp_path / "run.yaml"), "--optim.eps", "1e-9", "--print_config"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    shown = yaml.safe_load(run.stdout)
    assert (shown["seed"], float(shown["optim"]["eps"]), shown["model"]["n_layer"]) == (7, 1e-9, 2)
