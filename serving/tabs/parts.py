"""Parts that the tabs share: a choice of models, examples to click, a guide for when there is no model yet, and a result."""

from typing import Any

import gradio as gr

from inference.engine import Engine
from inference.folders import ModelInfo, Task
from serving.look import label


class Picker:
    """The choice of models of one task. Each `add_…` method puts a component into the layout; `connect` keeps them up to date."""

    def __init__(self, engine: Engine, task: Task, name: str, default_examples: tuple[str, ...]) -> None:
        """`name` is the prefix of each component's elem_id; `default_examples` are for models whose meta.json has none."""
        self._engine, self._task, self._name, self._defaults = engine, task, name, default_examples
        self.models = engine.models(task)  # updated whenever the page is opened

    def info(self, name: str | None) -> ModelInfo | None:
        """The model called `name` among those that the page shows; None if there is none."""
        return next((info for info in self.models if info.name == name), None)

    def add_guide(self) -> None:
        """Add the text that is shown while there is no model."""
        self._guide = gr.Markdown(label(f"no_{self._task}"), visible=not self.models, elem_id=f"{self._name}-guide")

    def add_dropdown(self) -> gr.Dropdown:
        """Add the list of models."""
        self._dropdown = gr.Dropdown(
            _choices(self.models),
            label=label("model"),
            info=label("model_info"),
            visible=bool(self.models),
            elem_id=f"{self._name}-model",
        )
        return self._dropdown

    def add_examples(self) -> None:
        """Add the chosen model's examples."""
        self._examples = gr.Dataset(
            components=[gr.Textbox(visible=False)],
            samples=self._samples(next(iter(self.models), None)),
            label=label("examples"),
            visible=bool(self.models),
            elem_id=f"{self._name}-examples",
        )

    def connect(self, run: gr.Button, target: gr.Textbox) -> None:
        """Update the models whenever the page is opened, so that a new run needs no restart. A clicked example goes to `target`."""
        page = gr.context.Context.root_block
        assert page is not None, "a tab is built inside gr.Blocks"
        outputs = [self._dropdown, self._guide, run, self._examples]
        page.load(self._refresh, self._dropdown, outputs, show_progress="hidden", api_visibility="private")
        self._dropdown.input(self._examples_of, self._dropdown, self._examples, show_progress="hidden", api_visibility="private")
        self._examples.click(lambda row: row[0], self._examples, target, show_progress="hidden", api_visibility="private")

    def _refresh(self, chosen: str | None) -> tuple[Any, ...]:
        """Updates for the four components. The visitor's choice stays if that model still exists."""
        models = self.models = self._engine.models(self._task)
        info = self.info(chosen) or next(iter(models), None)
        return (
            gr.Dropdown(choices=_choices(models), value=info.name if info else None, visible=bool(models)),
            gr.Markdown(visible=not models),
            gr.Button(interactive=bool(models)),
            gr.Dataset(samples=self._samples(info), visible=bool(models)),
        )

    def _examples_of(self, chosen: str | None) -> gr.Dataset:
        return gr.Dataset(samples=self._samples(self.info(chosen)))

    def _samples(self, info: ModelInfo | None) -> list[list[str]]:
        return [[line] for line in (info.examples if info else ()) or self._defaults]


def add_result(name: str, title: str, hint: str) -> tuple[gr.Textbox, gr.Textbox]:
    """The box with the result and the note below it. Both are text boxes, so that no text is ever read as HTML."""
    output = gr.Textbox(
        label=label(title),
        placeholder=label(hint),
        lines=11,
        max_lines=24,
        interactive=False,
        buttons=["copy"],
        elem_id=f"{name}-output",
        elem_classes="result",
    )
    note = gr.Textbox(
        label=label("note"),
        show_label=False,
        container=False,
        lines=1,
        max_lines=6,
        interactive=False,
        elem_id=f"{name}-note",
        elem_classes="note",
    )
    return output, note


def _choices(models: list[ModelInfo]) -> list[tuple[str, str]]:
    """(label shown, name of the model) for the dropdown."""
    return [(info.label, info.name) for info in models]
