"""Files of data, and messages as chats have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def put(folder: Path, name: str, content: Any) -> Path:
    """Writes bytes and texts as they are, lists as JSON, and as one entry per line where the name ends with .jsonl."""
    file = folder / name
    if not isinstance(content, (bytes, str)):
        lines = name.endswith(".jsonl")
        content = "".join(json.dumps(entry) + "\n" for entry in content) if lines else json.dumps(content)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
