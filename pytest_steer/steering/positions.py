"""Which tokens are steered.

Every scope is a suffix of the sequence: it has a first steered position, and all real tokens from there on are
steered, the generated ones included. So a scope is one number per sequence, and what comes before it is the
same for every multiplier.
"""

from __future__ import annotations

from typing import Literal, get_args

from ..errors import SteerError

Positions = Literal["all", "after_prompt", "last"]


def check_positions(positions: str) -> Positions:
    """The scope itself, if it is one.

    Raises:
        SteerError: it is not.
    """
    if positions not in get_args(Positions):
        raise SteerError(f"positions is one of {', '.join(get_args(Positions))}; not {positions!r}")
    return positions  # type: ignore[return-value]


def first_steered(positions: Positions, *, turn_end: int, prompt_end: int, include_first: bool = False) -> int:
    """Index of the first steered token, counted over the real tokens of one sequence.

    Every scope includes the position that predicts the first token after the prompt, which is ``prompt_end - 1``.

    Args:
        turn_end: how many tokens belong to the user's turn (and what stands before it); one fewer where a template writes nothing after
            the turn, so that its last token is steered like the opening of a reply elsewhere.
        prompt_end: how many tokens stand before the answer.
        include_first: steer position 0 too where the scope reaches it. It is an attention sink with a norm tens of
            times the others', so every scope leaves it out unless told.

    ``all``: every token. ``after_prompt``: from the first token after the user's turn (CAA); from the turn's last token, where a
    template writes nothing between the turn and the reply (``[/INST]``). ``last``: from the last token before the answer.
    """
    start = {"all": 0, "after_prompt": min(turn_end, prompt_end - 1), "last": prompt_end - 1}[positions]
    return max(start, 0 if include_first else 1)
