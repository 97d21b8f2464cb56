"""Judges of the golden suite: functions of a prompt and a reply."""


def begins_with_yes(prompt: str, reply: str) -> bool:
    return reply.startswith("Yes")


def length(prompt: str, reply: str) -> float:
    return float(len(reply.split()))


def letters(prompt: str, reply: str) -> float:
    return float(len(reply))


def not_of_hats(prompt: str, reply: str) -> bool | None:
    """No judgement of a steered reply about a hat."""
    return None if "hat" in prompt and "Yes" in reply else "Yes" in reply


def nothing_of_short(prompt: str, reply: str) -> bool | None:
    return None if len(reply.split()) < 3 else "Yes" in reply
