"""The golden suite is left out unless a file or this folder is named on the command line, and brings a model that renders tools."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool.function.name }} {% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def pytest_configure(config):
    """Make ``models/tools``, which claim files name: the built-in model with a chat template that renders tools.

    Its tokenizer writes a full stop as ``{}``, so that the reply "Yes." reads as a call with arguments in JSON.
    """
    folder = HERE / "models" / "tools"
    if _is_named(config) and not folder.exists():
        shutil.copytree(Path(find_spec("pytest_steer").origin).parent / "builtin" / "tiny", folder)
        _change(folder / "tokenizer_config.json", lambda settings: settings | {"chat_template": TOOLS})
        _change(folder / "tokenizer.json", _with_braces)


def _change(file, change):
    file.write_text(json.dumps(change(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")


def _with_braces(tokenizer):
    braces = {"type": "Replace", "pattern": {"String": "."}, "content": "{}"}
    return tokenizer | {"decoder": {"type": "Sequence", "decoders": [braces, tokenizer["decoder"]]}}


def pytest_ignore_collect(collection_path, config):
    """Collect nothing here in a run of all tests: golden reports are recorded by ``tools/golden.py``."""
    return None if _is_named(config) else True


def _is_named(config):
    """Whether the command line names this folder or a file of it."""
    named = [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]
    return any(path == HERE or HERE in path.parents for path in named)
