"""The axes of a context, one idea per module. ``contexts.Context`` puts them together."""

from .few_shot import draw_examples, reply_of
from .filler import NEUTRAL_SENTENCES, filler_text
from .noise import Noise, add_noise
from .options import LABEL_SETS, relabel, swap_options
from .own import Axis
from .wording import WORDINGS, place, reword

__all__ = [
    "LABEL_SETS", "NEUTRAL_SENTENCES", "WORDINGS", "Axis", "Noise", "add_noise", "draw_examples", "filler_text", "place",
    "relabel", "reply_of", "reword", "swap_options",
]  # fmt: skip
