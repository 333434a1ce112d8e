"""The texts of the page in Chinese and English, and the choice between the two.

LABELS are fixed texts (labels, placeholders, headings), which Gradio's I18n chooses by the browser's language
(see look.py). They are ICU messages and must have no braces and no <tags>. MESSAGES contain values; the server
formats them in the language of the browser's Accept-Language header. The engine's messages are in inference/words.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from training.base.words import Language

LABELS: dict[str, tuple[str, str]] = {
    "intro": (
        "从零训练的小模型：续写文字，或翻译句子。",
        "Small Transformers trained from scratch: continue a text, or translate.",
    ),
    "model": ("模型", "Model"),
    "model_info": (
        "只有名字 = 验证损失最低的检查点；名字/latest = 最后一个检查点，背得更熟",
        "The name alone = the checkpoint with the best validation loss; name/latest = the last one, which knows more by heart",
    ),
    "prompt": ("开头", "Prompt"),
    "prompt_hint": ("输入一个开头，也可以留空", "Write a beginning, or leave it empty"),
    "temperature": ("温度", "Temperature"),
    "temperature_info": ("0 = 总是选最可能的；越高越随机", "0 = always the most likely token; higher = more random"),
    "top_k": ("Top-k", "Top-k"),
    "top_k_info": ("只从最可能的 k 个词元里选；0 = 不限", "Choose among the k most likely tokens; 0 = off"),
    "top_p": ("Top-p", "Top-p"),
    "top_p_info": ("只从概率之和达到 p 的词元里选；1 = 不限", "Choose among tokens with this total probability; 1 = off"),
    "repetition_penalty": ("重复惩罚", "Repetition penalty"),
    "repetition_penalty_info": ("1 = 不惩罚", "1 = off"),
    "length": ("长度", "Length"),
    "length_info": ("最多续写多少词元", "At most this many new tokens"),
    "seed": ("随机种子", "Seed"),
    "seed_info": ("-1 = 每次不同；用到的种子写在结果下面", "-1 = a new one each time; it is shown below the result"),
    "run_generate": ("续写", "Continue"),
    "run_translate": ("翻译", "Translate"),
    "stop": ("停止", "Stop"),
    "output": ("结果", "Result"),
    "output_hint": ("生成的文字会陆续显示在这里", "The text appears here as it is written"),
    "examples": ("点一个例子", "Click an example"),
    "source": ("原文", "Source"),
    "source_hint": ("每行一句", "One sentence per line"),
    "translation": ("译文", "Translation"),
    "translation_hint": ("译文与原文逐行对应", "Line for line with the source"),
    "num_beams": ("束宽", "Beam size"),
    "num_beams_info": ("1 = 最快；大一些，译文往往略好", "1 = fastest; a larger beam is often a little better"),
    "note": ("说明", "Note"),
    "check_before": (
        "### 训练之前：要多少内存，要多长时间\n\n按真实的计算图推算，不分配任何权重。"
        "要结合语料做完整的检查，请运行 `python training/preflight.py --config 文件`",
        "### Before a run: how much memory, how long\n\nComputed from the real computation graph, without any weight in memory. "
        "For a full check with your corpus, run `python training/preflight.py --config FILE`",
    ),
    "task": ("任务", "Task"),
    "model_type": ("模型类型", "Model type"),
    "width": ("宽度", "Width"),
    "layers": ("层数", "Layers"),
    "layers_info": ("翻译模型的编码器和解码器各有这么多层", "A translation model has this many in the encoder and in the decoder"),
    "vocabulary": ("词表大小", "Vocabulary"),
    "context": ("上下文长度", "Context"),
    "rows": ("每批多少行", "Rows per batch"),
    "steps": ("训练步数", "Steps"),
    "bf16": ("混合精度", "Mixed precision"),
    "checkpointing": ("梯度检查点", "Gradient checkpointing"),
    "device": ("设备", "Device"),
    "run_check": ("推算", "Estimate"),
    "memory_plot": ("峰值内存（GB）", "Peak memory (GB)"),
    "check_hint": ("结果会显示在这里，大约要几秒", "The result appears here after a few seconds"),
    "check_after": ("### 训练之后：发生了什么", "### After a run: what happened"),
    "run": ("训练记录", "Run"),
    "curves": ("曲线", "Curves"),
    "doctor_hint": ("选一个训练记录", "Choose a run"),
    "sweep_intro": (
        "### 每个旋钮的作用\n\n拧动旋钮，查看最接近这组设置的一次训练记录。这里的数字都是训练的记录，或记录的均值，没有经过拟合或插值。",
        "### What each knob does\n\nTurn a knob and see the nearest recorded run. Every number here was recorded "
        "or is a mean of recorded numbers; none is modelled or interpolated.",
    ),
    "study": ("扫参", "Study"),
    "no_study": (
        (
            "还没有扫参记录。请在项目文件夹里运行下面的命令（约十分钟），然后刷新本页；第一次试验结束后就可以查看：\n\n"
            "```bash\npython training/sweep.py --config configs/sweep/sentence.yaml\n```"
        ),
        (
            "There is no study yet. Run this in the project's folder (about ten minutes), then reload this page; "
            "you can look at the study as soon as its first trial is over:\n\n"
            "```bash\npython training/sweep.py --config configs/sweep/sentence.yaml\n```"
        ),
    ),
    "no_gpt": (
        (
            "### 还没有续写模型\n\n请在项目文件夹里运行下面任意一条命令，完成后刷新本页：\n\n"
            "```bash\nmake demo\n```\n\n```bash\n"
            "accelerate launch -q training/train.py --config configs/gpt/verses.yaml\n```"
        ),
        (
            "### There is no model to continue a text yet\n\n"
            "Run either command in the project's folder, then reload this page:\n\n"
            "```bash\nmake demo\n```\n\n```bash\n"
            "accelerate launch -q training/train.py --config configs/gpt/verses.yaml\n```"
        ),
    ),
    "no_translation": (
        (
            "### 还没有翻译模型\n\n请在项目文件夹里运行下面任意一条命令，完成后刷新本页：\n\n"
            "```bash\nmake demo\n```\n\n```bash\n"
            "accelerate launch -q training/train.py --config configs/translation/phrasebook.yaml\n```"
        ),
        (
            "### There is no model to translate with yet\n\n"
            "Run either command in the project's folder, then reload this page:\n\n"
            "```bash\nmake demo\n```\n\n```bash\n"
            "accelerate launch -q training/train.py --config configs/translation/phrasebook.yaml\n```"
        ),
    ),
}

MESSAGES: dict[str, tuple[str, str]] = {
    "no_run": ("还没有训练记录。", "There is no run yet."),
    # About a study. The keys of metrics are the names in configs/sweep/*.yaml.
    "study_gone": ("这次扫参的记录不见了，请刷新页面。", "This study is no longer there. Reload the page."),
    "study_damaged": (
        "无法读取 {name} 里的 study.json：它已损坏，或不是扫参写出的。再运行一次那次扫参的命令，就会重写这个文件。",
        "study.json in {name} cannot be read: it is damaged, or it was not written by a sweep. "
        "Run the study's command again to write the file anew.",
    ),
    "study_empty": ("还没有试验结束，请稍后刷新。", "No trial has ended yet. Reload the page later."),
    "study_unreadable": ("另有 {count} 条无法读取，没有列入", "{count} more could not be read and are left out"),
    "study_uncontrolled": ("只有前 {most} 个旋钮可以拧", "only the first {most} knobs can be turned"),
    "study_report": ("完整报告", "Full report"),
    "count_complete": ("完成 {count}", "{count} complete"),
    "count_pruned": ("剪枝 {count}", "{count} pruned"),
    "count_failed": ("失败 {count}", "{count} failed"),
    "count_running": ("进行中 {count}", "{count} running"),
    "count_repeats": ("其中 {count} 次是换种子重复", "{count} of them repeats with another seed"),
    "pruned": ("剪枝", "pruned"),
    "only_with": ("仅当 {condition}", "only with {condition}"),
    "trial": ("第 {number} 次试验", "Trial {number}"),
    "trial_exact": ("就是这组设置", "exactly this setting"),
    "trial_near": ("这组设置没有试过，这是最接近的一次", "this setting was not tried; this is the nearest one"),
    "trial_pruned": (
        "在第 {step} 步被剪枝：它不如别的试验，所以没有训练完。下面是到那时为止的数字。",
        "Pruned at step {step}: it was worse than the others, so it was not finished. The numbers are those up to that step.",
    ),
    "trial_failed": ("失败：{reason}", "It failed: {reason}"),
    "no_reason": ("没有记录原因", "no reason was recorded"),
    "val_loss": ("验证损失", "validation loss"),
    "perplexity": ("困惑度", "perplexity"),
    "bits_per_character": ("每字比特", "bits per character"),
    "bleu": ("BLEU", "BLEU"),
    "chrf": ("chrF", "chrF"),
    "training_time": ("训练用时", "training time"),
    "seconds": ("{seconds:.1f} 秒", "{seconds:.1f} s"),
    "minutes": ("{minutes} 分 {seconds:.0f} 秒", "{minutes} min {seconds:.0f} s"),
    "parameters": ("参数", "parameters"),
    "over_seeds": ("{count} 个种子，均值 ± 标准误", "{count} seeds, mean ± standard error"),
    "knob": ("旋钮", "Knob"),
    "asked": ("所选", "Chosen"),
    "this_run": ("这次", "This run"),
    "differs": ("≠ 与所选的不同", "≠ differs from what you chose"),
    "step_title": ("每个旋钮拧一格", "One step on each knob"),
    "step_hint": (
        "与这次相比，只有这一个旋钮不同的试验",
        "Trials that differ from this one only in that knob, compared with this one",
    ),
    "step": ("一格", "Step"),
    "no_step": ("没有试验与这次只差一个旋钮。", "No recorded trial differs from this one in only one knob."),
    "no_step_on": (
        "以下旋钮没有这样的试验：{knobs}。",
        "There is no such trial for these knobs: {knobs}.",
    ),
    "within_noise": ("在噪声之内", "within noise"),
    "or_chance": ("，或只是偶然", ", or chance"),
    "noise_known": (
        "噪声由重复训练得出：两次单独的训练仅凭偶然就可能相差 {noise}（二十次里有十九次不超过它）。",
        "The noise is known from repeats of one setting: two single runs differ by up to {noise} by chance (in 19 of 20 cases).",
    ),
    "noise_unknown": (
        "没有哪个设置有三次训练（第一次不算，因为设置正是因它成绩好才选中的），所以不知道这些差别是否大于噪声。",
        "It is not known whether these differences are more than noise, because no setting has three runs (the first one, for "
        "which it was chosen, does not count).",
    ),
    "average_title": ("拧一格的平均变化", "One step on average"),
    "average_hint": (
        "取该值的全部已完成试验的均值。它们的其他旋钮各不相同；重复的试验不算",
        "Means of all complete trials with that value. Their other knobs differ; repeats are left out",
    ),
    "mean_of": ("平均{metric}", "mean {metric}"),
    "runs": ("试验数", "Trials"),
    "no_other_value": ("没有其他取值的记录", "no other value was recorded"),
    "better": ("更好", "better"),
    "worse": ("更差", "worse"),
    "not_recorded": ("没有记录", "not recorded"),
    "not_turned": ("这次没有启用", "not used in this run"),
    "smallest": ("已是试过的最小值", "the smallest that was tried"),
    "largest": ("已是试过的最大值", "the largest that was tried"),
    "samples": ("生成的文字", "What it writes"),
    "no_samples": ("没有样本", "no sample was recorded"),
    "reference": ("参考", "reference"),
    "verdicts": ("诊断", "The doctor's verdicts"),
    "no_verdicts": ("没有发现问题", "nothing was found"),
    # Below a result.
    "generated": (
        "{tokens} 个词元 · {seconds:.1f} 秒 · 每秒 {rate:.0f} 个",
        "{tokens} tokens · {seconds:.1f} s · {rate:.0f} tokens/s",
    ),
    "translated": ("{lines} 行 · 模型用时 {seconds:.2f} 秒", "lines: {lines} · model time {seconds:.2f} s"),
    "loaded": ("加载模型 {seconds:.1f} 秒", "model loaded in {seconds:.1f} s"),
    "seed_used": ("种子 {seed}", "seed {seed}"),
    "end": ("遇到结束符后停止", "stopped at the end token"),
    "length": ("达到长度上限后停止", "stopped at the length limit"),
    "visitor": ("已按要求停止", "stopped on request"),
    "prompt_capped": (
        "开头太长，只读取了最后 {kept:,} 个字符。",
        "The prompt is too long: only its last {kept:,} characters were read.",
    ),
    "prompt_cut": (
        "模型一次最多读取 {context:,} 个词元，所以只用了开头的最后 {kept:,} 个词元。",
        "The model reads at most {context:,} tokens, so only the last {kept:,} tokens of the prompt were used.",
    ),
    "length_cut": (
        "模型一次最多读取 {context:,} 个词元，所以这里最多续写 {length:,} 个。",
        "The model reads at most {context:,} tokens, so it can write at most {length:,} here.",
    ),
    "unknown": (
        "模型没有见过这些字符，把它们当作未知字符处理：{characters}",
        "The model never saw these characters in training and reads them as unknown: {characters}",
    ),
    "no_han": (
        "第 {numbers} 行没有汉字；这个模型学的是从中文翻译。",
        "No Chinese characters in line {numbers}; this model translates from Chinese.",
    ),
    "spelt": (
        "第 {numbers} 行大多是词表里没有的字符，译文多半不可靠：{characters}",
        "Do not rely on the translation of line {numbers}: most of its characters are not in the vocabulary: {characters}",
    ),
    "line_cut": (
        "第 {numbers} 行太长，只翻译了开头部分。",
        "Only the beginning was translated, because the line is too long: line {numbers}.",
    ),
    "line_unfinished": (
        "第 {numbers} 行的译文达到长度上限，没有译完。",
        "The translation stopped at the length limit and is unfinished: line {numbers}.",
    ),
}


def say(language: Language, key: str, **values: object) -> str:
    """The message `key` in one language, with its values inserted."""
    return MESSAGES[key][0 if language == "zh" else 1].format(**values)


def language(headers: Mapping[str, str] | None) -> Language:
    """zh if the first language of the Accept-Language header is Chinese, else en."""
    first = (headers or {}).get("accept-language", "").split(",")[0].strip().lower()
    return "zh" if first.startswith("zh") else "en"
