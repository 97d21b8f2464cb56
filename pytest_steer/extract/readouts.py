"""Where in a sequence an activation is read."""

from __future__ import annotations

from typing import Annotated, Literal

from ..parameters import Param

ItemReadout = Literal["answer", "last", "mean"]
TextReadout = Literal["mean", "last"]
Readout = Literal["answer", "last", "mean"]
"""Of either; of texts there is no ``answer``."""

_READOUT = Param(
    'answer (of contrast items: the letter of "(A)"), last (last token) or mean (over the tokens of the answer, or of the text but the '
    "first).",
    title="Where activations are read",
    example="last",
    schema={"enum": ["answer", "last", "mean"]},
)
OfItems = Annotated[ItemReadout, _READOUT]
OfEither = Annotated[Readout, _READOUT]
AnyReadout = Annotated[str | None, _READOUT]
"""Without it ``answer`` of items and ``mean`` of texts; see ``contrast.read_contrast``."""
