"""The engine's messages about models and requests that it cannot serve. Each is shown in Chinese and English together."""

from __future__ import annotations

MESSAGES: dict[str, tuple[str, str]] = {
    "no_model_gpt": (
        ("还没有续写模型。请先运行 make demo，或 accelerate launch -q training/train.py --config configs/gpt/verses.yaml。"),
        (
            "There is no model to continue a text yet. Run make demo, "
            "or accelerate launch -q training/train.py --config configs/gpt/verses.yaml."
        ),
    ),
    "no_model_translation": (
        ("还没有翻译模型。请先运行 make demo，或 accelerate launch -q training/train.py --config configs/translation/phrasebook.yaml。"),
        (
            "There is no translation model yet. Run make demo, "
            "or accelerate launch -q training/train.py --config configs/translation/phrasebook.yaml."
        ),
    ),
    "unknown_model": (
        "没有这个模型（可能刚刚被删除或改名）。现有的模型：{names}。",
        "There is no such model (it may have been removed or renamed). Available: {names}.",
    ),
    "broken_model": (
        "模型 {name} 加载失败：{reason}。",
        "The model {name} could not be loaded: {reason}.",
    ),
    "reason_unreadable": (
        "文件已损坏、缺失，或与这个版本的 transformers 不兼容",
        "its files are damaged, missing, or incompatible with this version of transformers",
    ),
    "reason_weights": ("权重与 config.json 不符", "its weights do not fit its config.json"),
    "reason_tokenizer": ("分词器与词表大小不符", "its tokenizer does not fit its vocabulary size"),
    "failed": (
        "模型 {name} 计算时出错，请换一个输入或模型再试。",
        "The model {name} failed on this input. Try another input or model.",
    ),
    "not_finite": (
        "模型 {name} 算出了无效的数值（NaN 或无穷大），它的训练多半出了问题。",
        "The model {name} computed numbers that are not finite; its training probably went wrong.",
    ),
    "empty_prompt": (
        "这个模型没有起始符，请至少输入一个字。",
        "This model has no start token: write at least one character.",
    ),
    "no_text": ("请先输入要翻译的句子。", "First write the sentences to translate."),
    "too_many_lines": ("最多 {most} 行，现在有 {lines} 行。", "At most {most} lines are allowed; there are {lines}."),
    "line_too_long": (
        "第 {number} 行有 {characters:,} 个字符，每行最多 {most:,} 个。",
        "Line {number} has {characters:,} characters; at most {most:,} are allowed in a line.",
    ),
    "bad_value": ("{name} 应在 {low} 到 {high} 之间。", "{name} must be between {low} and {high}."),
    "not_whole": ("{name} 应是整数。", "{name} must be a whole number."),
    "not_text": ("{name} 应是文字。", "{name} must be text."),
}


def both(key: str, **values: object) -> str:
    """The message `key` in both languages, Chinese first. A value that is a pair (Chinese, English) is inserted by language."""
    texts = []
    for k, message in enumerate(MESSAGES[key]):  # k: 0 Chinese, 1 English
        texts.append(message.format(**{name: value[k] if isinstance(value, tuple) else value for name, value in values.items()}))
    return " ".join(texts)
