"""Where in a sequence an activation is read."""

from __future__ import annotations

from typing import Literal

ItemReadout = Literal["answer", "last", "mean"]
TextReadout = Literal["mean", "last"]
Readout = Literal["answer", "last", "mean"]
"""Of either; of texts there is no ``answer``."""
