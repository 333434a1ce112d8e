"""HTML from templates: escaped, complete, and found from anywhere. `pytest tests/test_templates.py`"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from sweep_studies import HOSTILE, lively, put, read, study, trial

from serving import study_html
from training.sweeps import blocks, report

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (ROOT / "serving/templates", ROOT / "training/sweeps/templates")


def test_whatever_is_put_into_a_template_is_escaped(tmp_path: Path) -> None:
    hostile = "<b>'\"&${x}`"
    for text in (hostile, HOSTILE):
        table = blocks.Table([text], [[text], [blocks.Link(text, text)]])
        rung = blocks.Rung(text, text, [[(text, text)]], [text])
        page = blocks.html_page([blocks.Heading(text), blocks.Paragraph(text), blocks.KeyNumbers([(text, text)]), table, rung], {}, "en")
        assert not re.search(r"<(b|script|img)\b", page)
        assert page.count("&lt;") == 14 * text.count("<"), "two titles, a paragraph, two of a number, four in the table, five of the rung"
    told = study([trial(0, {"model.hidden_size": 32}, 1.0, samples=[{"prompt": hostile, "text": hostile, "reference": hostile}])])
    records = read(told, tmp_path)
    shown = study_html.more(records, records.trials[0], "en")
    assert shown.count("&lt;b&gt;&#39;&#34;&amp;&#36;&#123;x&#125;&#96;") == 3 and not set("${}`") & set(shown)


def test_a_name_without_a_value_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        study_html.render("paragraph", "en")


@pytest.mark.parametrize("path", [p for folder in FOLDERS for p in sorted(folder.glob("*.j2"))], ids=lambda p: p.name)
def test_only_pictures_are_taken_as_they_are(path: Path) -> None:
    unescaped = re.findall(r"{{([^{}]*)\| *safe", path.read_text(encoding="utf-8"))
    assert all(part.strip().startswith("drawn[") for part in unescaped) and "autoescape" not in path.read_text(encoding="utf-8")


def test_the_signs_that_gradio_reads_stand_in_none_of_the_page_s_templates() -> None:
    for path in FOLDERS[0].glob("*.j2"):
        markup = re.sub(r"{[{%#].*?[}%#]}", "", path.read_text(encoding="utf-8"), flags=re.S)
        assert not set("${}`") & set(markup), path.name


def test_templates_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report.write(put(tmp_path / "birds", lively(12)), "en")
    assert "</html>" in (tmp_path / "birds/report.html").read_text(encoding="utf-8")
    assert study_html.paragraph("x") == "<p>x</p>"
