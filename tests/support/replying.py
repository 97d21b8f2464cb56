"""Models whose replies are known in closed form, and judges whose answers are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import builders

from pytest_steer import Context
from pytest_steer.measures.judges import Exchange, Judgement

# The prompt is the question's word alone, so the first token of a reply depends on it.
BARE = Context(template="{question}")

MOVED = tuple(f"moved{i}" for i in range(40))  # "up" at m = 0, "down" at m = 1
STAYS = tuple(f"stays{i}" for i in range(40))  # "up" at both
SILENT = tuple(f"silent{i}" for i in range(40))  # an empty reply at both
DOWN = {"regex": "down"}


def moving() -> builders.Linear:
    """logit_j = a_last * b_j + m * c_j (builders.Linear), "<unk>" ends a reply.

    After "moved" "up" has 2 and "down" 0 (3 at m = 1), after "stays" "up" has 4, after "silent" the end has 1 and all others less (at m = 1: 4, "down" 3). After "up" or
    "down" the end has 1 (4 at m = 1), "down" 0 (3).
    """
    a = {**dict.fromkeys(MOVED, 1.0), **dict.fromkeys(STAYS, 2.0), **dict.fromkeys(SILENT, -1.0), "up": -1.0, "down": -1.0}
    return builders.Linear(
        (*MOVED, *STAYS, *SILENT, "up", "down"), a, {"up": 2.0, "<unk>": -1.0}, {"down": 3.0, "<unk>": 3.0}
    )


def looping(words: Sequence[str] = MOVED) -> builders.Linear:
    """The same with a vector that adds m to "on" alone: from m = 1 on, "up" is followed by "on", and that by "on" for ever."""
    a = {**dict.fromkeys(words, 1.0), "up": -1.0}
    return builders.Linear((*words, "up", "on"), a, {"up": 2.0, "<unk>": -1.0}, {"on": 1.0})


class Listening:
    """Accepts replies with "down", gives no judgement of some, and keeps all that it is shown."""

    def __init__(self, missing: int = 0) -> None:
        self.missing = missing
        self.seen: list[Exchange] = []

    def judge(self, exchanges: Sequence[Exchange]) -> Iterator[Judgement]:
        for exchange in exchanges:
            self.seen.append(exchange)
            if self.missing and exchange.prompt[0] in MOVED[: self.missing] and "down" in exchange.reply:
                yield Judgement.none("a timeout")
            else:
                yield Judgement("down" in exchange.reply, score=float(len(exchange.reply)), said="I looked")

    def record(self) -> dict[str, Any]:
        return {"judge": "listening", "missing": self.missing}
