"""The HTML page: one self-contained file with the verdicts, what was measured, and figures."""

from .page import page_of

__all__ = ["page_of"]
