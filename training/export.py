"""Make a model ready to be served or shared: `python training/export.py --model runs/tatoeba [--out models/tatoeba]`.

A translation model gets an int8 copy by CTranslate2 in `ctranslate2/` beside its weights, which the app then uses on a CPU. The greedy
translations of CTranslate2 are compared with those of transformers, in float32 (which must agree) and in int8, on the phrasebook's
sentences or, better, on real ones by `--test`. With `--out` the folder is copied there first, without the trainer's state.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # see train.py
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from pathlib import Path

import jsonargparse

from inference.folders import COPY
from training.base.console import command_parser, loading, one_line, options_of
from training.base.words import phrases, spoken
from training.publish.model_folder import PARITY, Weights, export_model, parity_table
from training.scoring.test_sets import model_folder


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    p = command_parser(__doc__)
    p.add_argument("--model", type=str, required=True, help="a run folder or a checkpoint")
    p.add_argument("--out", type=str | None, help="copy the model there; without it, the int8 copy goes beside the model's weights")
    p.add_argument("--test", type=str, nargs="+", help="files of pairs whose sources are translated to compare (default: the phrasebook's)")
    p.add_argument("--columns", type=dict[str, str], default={}, help="the columns' names, e.g. '{source: zh, target: en}'")
    p.add_argument("--sentences", type=jsonargparse.typing.PositiveInt, default=300, help="how many sentences of each file to compare")
    p.add_argument("--weights", type=Weights, default="float32", help="how the copied weights are stored")
    p.add_argument(
        "--shard_mb", type=jsonargparse.typing.NonNegativeFloat, default=0.0, help="the most MB of a weights file; 0 writes a single file"
    )
    p.add_argument("--license", type=str, default="", help="the licence of the copied weights, for the model card, e.g. cc-by-4.0")
    args = options_of(p, argv)
    loading(spoken())
    words = phrases("commands", spoken())
    out = Path(args.out) if args.out else None
    parity = export_model(Path(args.model), out, args.test, args.sentences, args.weights, args.shard_mb, args.columns, args.license)
    place = out or model_folder(Path(args.model))
    if not parity:
        print(words["no_copy"].format(place=place))
        return
    print(f"{parity_table(parity)}\n\n{words['for_cpu'].format(place=place / COPY)}")
    if parity["int8"]["agree"] < PARITY:
        print(words["differ"].format(share=1 - parity["int8"]["agree"]), file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
