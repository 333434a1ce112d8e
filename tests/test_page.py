"""The page in a real headless Chromium, in Chinese and English. `pytest tests/test_page.py`"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving_fixtures import CONTEXT, HOSTILE, PAIRS, SENTENCE, both_models, endless_gpt, save, save_study, serve, tiny_gpt

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (requirements-dev.txt)")
GONE = pytest.importorskip("selenium.common.exceptions").StaleElementReferenceException
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium or chromedriver is not installed")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,1000",
)
EXAMPLE = next(iter(PAIRS))
WAIT = 60  # seconds; a busy machine is slow


class Page:
    """A browser window on the app, with the few moves that the tests make."""

    def __init__(self, url: str, language: str, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in FLAGS:
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={profile}")
        options.add_argument(f"--lang={language}")
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.url = url
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))

    def open(self) -> None:
        self.driver.get(self.url)
        self.until(lambda: self.find("#generate-run"))

    def leave(self) -> None:
        """Go away, and forget what the browser says of requests that this cut off."""
        assert self.complaints() == []
        self.driver.get("about:blank")
        self.driver.get_log("browser")

    def find(self, css: str) -> Any:
        return next(iter(self.driver.find_elements("css selector", css)), None)

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + WAIT
        while True:
            with suppress(AttributeError, GONE):  # an element that is not there yet, or no more
                if value := condition():
                    return value
            assert time.monotonic() < deadline, f"not in {WAIT} s; the page says:\n{self.text()}"
            time.sleep(0.1)

    def text(self) -> str:
        return str(self.driver.execute_script("return document.body.innerText"))

    def value(self, name: str) -> str:
        return str(self.find(f"#{name} textarea").get_attribute("value"))

    def write(self, name: str, text: str, tag: str = "textarea") -> None:
        field = self.find(f"#{name} {tag}")
        field.clear()
        field.send_keys(text)

    def set_number(self, name: str, number: str) -> None:
        """Type over what is there, as a person does: WebDriver's `clear` leaves the field, whereupon a slider's box fills up again."""
        field = self.find(f"#{name} input[type=number]")
        field.send_keys(webdriver.Keys.CONTROL + "a")
        for key in number + "\t":
            field.send_keys(key)
            time.sleep(0.4)  # long enough for what is half typed to reach the server

    def choose(self, name: str, option: str) -> None:
        def pick() -> bool:
            items = [item for item in self.driver.find_elements("css selector", "[role=option]") if option in item.text]
            return bool(items) and (items[0].click() or True)

        self.until(lambda: self.find(f"#{name} input")).click()
        self.until(pick)

    def click(self, css: str) -> None:
        self.until(lambda: self.find(css).is_enabled())
        self.find(css).click()

    def tab(self, name: str) -> None:
        tabs = self.driver.find_elements("css selector", "button[role=tab]")
        next(tab for tab in tabs if name in tab.text and tab.is_displayed()).click()

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def hosts(self) -> set[str]:
        """Every host that the page has asked for something."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {str(urlsplit(url).hostname) for url in urls if urlsplit(url).scheme in ("http", "https", "ws", "wss")}


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "models"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def url(models_dir: Path) -> Iterator[str]:
    with serve(models_dir) as address:
        yield address


@pytest.fixture
def page(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[Page]:
    page = Page(url, request.param, tmp_path / "profile")
    yield page
    page.driver.quit()


def add_models(folder: Path) -> None:
    both_models(folder)
    save(folder / "endless", endless_gpt(), "gpt")
    save(folder / "<b>bold", tiny_gpt(), "gpt", examples=[HOSTILE])


@pytest.mark.parametrize("page", ["zh-CN"], indirect=True)
def test_from_no_model_to_text_and_translation(page: Page, models_dir: Path, tmp_path: Path) -> None:
    page.open()
    page.until(lambda: "还没有续写模型" in page.text())
    assert "make demo" in page.text() and "configs/gpt/verses.yaml" in page.text()
    assert not page.find("#generate-run").is_enabled()

    page.leave()
    add_models(models_dir)
    page.open()
    page.choose("generate-model", "verses")
    page.set_number("generate-temperature", "0")
    page.write("generate-prompt", SENTENCE[:2])
    page.click("#generate-run")
    page.until(lambda: "结束符" in page.value("generate-note"))
    assert page.value("generate-output") == SENTENCE
    shot = tmp_path / "page.png"
    assert page.driver.save_screenshot(str(shot)) and shot.stat().st_size > 10_000
    print(f"screenshot: {shot}")

    page.tab("翻译")
    page.write("translate-source", "\n\n".join(PAIRS))
    page.click("#translate-run")
    page.until(lambda: "模型用时" in page.value("translate-note"))
    assert page.value("translate-output") == "\n\n".join(PAIRS.values())
    page.click("#translate-examples button")
    page.until(lambda: page.value("translate-source") == EXAMPLE)
    assert page.driver.execute_script("return document.documentElement.lang") == "zh-CN"
    assert page.hosts() == {"127.0.0.1"}
    assert page.complaints() == []


@pytest.mark.parametrize("page", ["en-US"], indirect=True)
def test_stop_errors_and_hostile_text(page: Page, models_dir: Path) -> None:
    if not any(models_dir.iterdir()):  # when this test runs alone
        add_models(models_dir)
    page.open()
    assert "Temperature" in page.text() and "温度" not in page.text()

    page.until(lambda: page.find("#generate-length input[type=number]").get_attribute("value") == str(CONTEXT - 1))
    page.choose("generate-model", "endless")
    page.until(lambda: page.find("#generate-length input[type=number]").get_attribute("value") == "200")
    page.set_number("generate-length", "1000")
    page.click("#generate-run")
    page.until(lambda: page.value("generate-output"))
    page.click("#generate-stop")
    page.until(lambda: "stopped on request" in page.value("generate-note"))
    length = len(page.value("generate-output"))
    time.sleep(0.5)
    assert len(page.value("generate-output")) == length

    page.choose("generate-model", "<b>")
    page.until(lambda: HOSTILE in page.text())
    page.click("#generate-examples button")
    page.until(lambda: page.value("generate-prompt") == HOSTILE)
    page.set_number("generate-temperature", "0")
    page.click("#generate-run")
    page.until(lambda: "never saw these characters" in page.value("generate-note"))
    assert page.value("generate-output").startswith(HOSTILE)

    page.tab("Translate")
    page.write("translate-source", "你好\n" * 70)
    page.click("#translate-run")
    page.until(lambda: "At most 64 lines" in page.text())
    assert page.driver.execute_script("return [window.hacked, document.querySelectorAll('img[src=x]').length]") == [None, 0]
    assert page.hosts() == {"127.0.0.1"}
    assert page.complaints() == []


@pytest.mark.parametrize("page", ["zh-CN"], indirect=True)
def test_the_sliders_answer_and_a_run_is_diagnosed(page: Page, models_dir: Path, tmp_path: Path) -> None:
    run = shutil.copytree(Path(__file__).parent / "doctor_runs/overfitting", models_dir / "overfitting", dirs_exist_ok=True)
    shutil.copy(Path(__file__).resolve().parents[1] / "docs/tatoeba_bleu.png", run / "curves.png")
    page.open()
    page.tab("检查")
    page.until(lambda: "开始过拟合" in page.text() or "过拟合" in page.text())
    page.until(lambda: page.find("#check-curves img"))
    page.set_number("check-layers", "2")
    page.set_number("check-width", "128")
    page.click("#check-run")
    page.until(lambda: "个参数" in page.find("#check-estimate").text)
    page.until(lambda: page.find("#check-plot canvas, #check-plot svg.marks"))
    assert "峰值约" in page.find("#check-estimate").text and "Findings" not in page.text()
    page.driver.set_window_size(1200, 1800)
    assert page.driver.save_screenshot(str(tmp_path / "check.png"))
    print(f"screenshot: {tmp_path / 'check.png'}")
    assert page.hosts() == {"127.0.0.1"}
    assert page.complaints() == []


@pytest.mark.parametrize("page", ["zh-CN"], indirect=True)
def test_moving_a_knob_shows_a_real_run(page: Page, models_dir: Path, tmp_path: Path) -> None:
    page.open()
    page.tab("旋钮")
    page.until(lambda: "configs/sweep/sentence.yaml" in page.find("#sweep-guide").text)
    page.leave()
    study = save_study(models_dir / "sweep-birds")
    for trial in (study / "trials").iterdir():
        shutil.copy(Path(__file__).resolve().parents[1] / "docs/tatoeba_bleu.png", trial / "curves.png")
    page.open()
    page.tab("旋钮")
    page.until(lambda: "就是这组设置" in page.find("#sweep-result").text and page.find("#sweep-curves img"))
    best = page.find("#sweep-result").text
    page.set_number("sweep-slider-0", "-3")
    page.until(lambda: "没有试过" in page.find("#sweep-result").text and "0.001" in page.find("#sweep-result").text)
    page.choose("sweep-list-1", "32")
    page.until(lambda: "hidden_size 32" in page.find("#sweep-result").text)
    assert "错误" not in page.text()
    assert page.find("#sweep-result").text != best and HOSTILE in page.find("#sweep-more").text
    page.driver.set_window_size(1200, 1800)
    assert page.driver.save_screenshot(str(tmp_path / "sweep.png"))
    print(f"screenshot: {tmp_path / 'sweep.png'}")
    assert page.driver.execute_script("return [window.hacked, document.querySelectorAll('img[src=x]').length]") == [None, 0]
    assert page.hosts() == {"127.0.0.1"}
    assert page.complaints() == []
