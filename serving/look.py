"""The theme, style and languages of the page, as app.py passes them to `launch`.

The fonts are those of the visitor's system, so that the page loads nothing from other hosts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from serving.strings import LABELS

TITLE = "Stray Bird · 飞鸟"
FONTS = (
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "sans-serif",
)
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

_ZH = {key: zh for key, (zh, _) in LABELS.items()}
_EN = {key: en for key, (_, en) in LABELS.items()}
I18N = gr.I18n(**{"en": _EN, "zh-CN": _ZH, "zh-TW": _ZH})

THEME = gr.themes.Base(
    primary_hue="teal",
    secondary_hue="teal",
    neutral_hue="stone",
    radius_size="lg",
    font=FONTS,
    font_mono=MONO,
).set(
    body_background_fill="#faf8f4",
    body_background_fill_dark="#16181a",
    body_text_color_subdued="*neutral_500",
    block_info_text_color="*neutral_500",
    block_info_text_color_dark="*neutral_400",
    block_background_fill="#ffffff",
    block_background_fill_dark="#1f2224",
    block_border_color="#e7e2d8",
    block_border_color_dark="#33383b",
    input_background_fill="#fdfcf9",
    input_background_fill_dark="#191c1e",
    input_border_color="#e0dace",
    input_border_color_dark="#3a4043",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_600",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_600",
    button_primary_text_color="#ffffff",
)

CSS = """
.gradio-container { width: 100%; max-width: 1120px !important; margin: 0 auto !important; }
#head { padding: 10px 2px 2px; }
#head h1 { font-weight: 600; letter-spacing: .01em; margin: 0 0 4px; }
#head p { color: var(--body-text-color-subdued); margin: 0; }
.result textarea { font-size: 1.08em !important; line-height: 1.75 !important; }
.note, .note textarea { border: none !important; background: transparent !important; }
.note textarea { font-size: .88em !important; color: var(--body-text-color-subdued) !important;
  -webkit-text-fill-color: var(--body-text-color-subdued) !important;
  padding: 0 6px !important; resize: none !important; }
"""

# Gradio knows zh-CN and zh-TW and shows English for all other Chinese locales (zh, zh-SG, zh-HK, …). This
# script changes the language by `changeLocale`, as Gradio's own settings page does; should Gradio rename
# that, English is shown. The page's lang attribute, which Gradio leaves at en, selects the Chinese shapes of
# characters that Japanese and Korean write differently.
HEAD = """
<script>
(() => {
  const tag = navigator.language || "en";
  if (!tag.toLowerCase().startsWith("zh")) { return; }
  document.documentElement.lang = "zh-CN";
  if (["zh-CN", "zh-TW"].includes(tag)) { return; }
  const core = performance.getEntriesByType("resource").map((entry) => entry.name).find((name) =>
    /\\/assets\\/core-[^/]*\\.js$/.test(name));
  if (core) { import(core).then((module) => module.changeLocale?.("zh-CN")).catch(() => {}); }
})();
</script>
"""


def label(key: str) -> I18nData:
    """The fixed text `key` of LABELS, shown in the language of the visitor's browser."""
    assert key in LABELS, key
    return I18N(key)


def launch_options() -> dict[str, Any]:
    """The arguments of `demo.launch`, but for the address, which Gradio reads from its environment variables."""
    return {
        "theme": THEME,
        "css": CSS,
        "head": HEAD,
        "i18n": I18N,
        "favicon_path": Path(__file__).parent / "assets" / "bird.svg",
        "footer_links": ["api", "settings"],
        "run_history": False,  # visitors' texts are private
        "ssr_mode": False,  # server-side rendering would start a second server (node) and slow the start
    }
