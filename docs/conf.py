"""The site: `sphinx-build -W --keep-going -b html docs docs/_build`. Nothing is fetched.

Pages under `_made/` are written here at the start of each build, from the installed package (`made_pages.py`).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import made_pages  # noqa: E402

from pytest_steer import __version__  # noqa: E402

project = "pytest-steer"
copyright = "the authors of pytest-steer"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"pytest-steer {release}"
html_copy_source = False
smartquotes = False  # or --option becomes –option

myst_heading_anchors = 4  # links to headings go by GitHub's names for them
myst_enable_extensions = ["colon_fence"]
default_role = "code"  # docstrings write `name` where reStructuredText has ``name``
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say them
autodoc_preserve_defaults = True
napoleon_use_param = False  # or "a / b:" would be an argument b of the type a
napoleon_use_rtype = False
napoleon_use_ivar = True

# A file of the repository that is no page: its name stays, the link goes. On GitHub both work.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./(?!ARCHITECTURE\.md)[^)]+\)")


def _inside(app: Sphinx, page: str, text: list[str]) -> None:
    if not page.startswith("_made/"):
        text[0] = _OUTSIDE.sub(r"\1", text[0]).replace("](../ARCHITECTURE.md)", "](/architecture.md)")


def setup(app: Sphinx) -> None:
    made_pages.write(DOCS / "_made")
    app.connect("source-read", _inside)
