"""Judges of the golden suite: functions of a prompt and a reply."""


def begins_with_yes(prompt: str, reply: str) -> bool:
    return reply.startswith("Yes")


def length(prompt: str, reply: str) -> float:
    return float(len(reply.split()))


def none_of_short(prompt: str, reply: str) -> bool | None:
    """No judgement of every reply of fewer than three words."""
    return None if len(reply.split()) < 3 else "Yes" in reply
