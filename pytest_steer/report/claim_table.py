"""The table of claims at the end of a run, and the lines below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import convert

from ..core.columns import WITHOUT_TERMINAL, columns_of, cut, padded, shortened, visible, wrapped
from ..core.finding import sentence, warning
from ..core.numbers import bounded, promised
from ..core.record import UNBOUNDED, ClaimRecord, LeftOut
from ..stats import expected_false_verdicts
from .claim_words import marks_of, own_name, verdict_words

Paint = Callable[[str, str], str]
"""From a text and a verdict in words, or ``heading``, to the text in its colour."""

_NAMED = 3
_GAP = "  "
_INDENT = "  "
_LEAST_NAME = 16
# What error rates rest on: docs/verdicts.md.
_CONDITIONS = ", if items are independent, no rare large value is missing from them and no threshold was set from them"

_SIGNS = {"at most": "<=", "at least": ">=", "more than": ">"}


def claim_table(claims: Sequence[ClaimRecord], *, width: int = WITHOUT_TERMINAL, paint: Paint = lambda text, _: text) -> str:
    """One row per claim below the name of its suite: verdict, name, estimate with its interval, promise and n.

    Long names are shortened in the middle. Where even these find no room, the numbers stand on a line of their own. With room to spare
    kinds follow the names, and a further column says what the estimate is. Without, the assertions of one test stand below its name, and
    what a matrix makes of one claim below that.

    Args:
        width: columns that no line exceeds.
        paint: gives words their colours.
    """
    numbers = [_numbers(claim) for claim in claims]
    headers = ["estimate [interval]", "promised", "n"]
    widths = [max(map(columns_of, column)) for column in zip(headers, *numbers, strict=True)]
    first = max(len("verdict"), *(len(_short(claim)) for claim in claims))
    taken = len(_INDENT) + first + len(_GAP)
    room = width - taken - sum(len(_GAP) + own for own in widths)
    names = [_full_name(claim) for claim in claims]
    statistics = ["statistic", *(_cell(claim.statistic) for claim in claims)]
    longest = max(map(columns_of, statistics))
    widest = max(map(columns_of, ["claim", *names]))
    is_told = room - longest - len(_GAP) >= widest
    if is_told:
        room -= longest + len(_GAP)
    is_below = room < min(_LEAST_NAME, widest)
    room = width - taken if is_below else room
    several = Counter(map(_group, claims))
    has_kinds = widest <= room
    shown = [shortened(names[at] if has_kinds else _name(claim, several), room) for at, claim in enumerate(claims)]
    name_width = max(map(columns_of, ["claim", *shown]))

    def row(verdict: str, name: str, statistic: str, cells: Sequence[str]) -> list[str]:
        told = [padded(statistic, longest)] if is_told else []
        each = [
            padded(cell, own, right=at == len(cells) - 1) for at, (cell, own) in enumerate(zip(cells, widths, strict=True))
        ]
        if is_below:
            below = f"{' ' * taken}{_GAP.join(each)}".rstrip()
            return [f"{_INDENT}{verdict}{_GAP}{name}".rstrip(), *([cut(below, width)] if below else [])]
        return [f"{_INDENT}{verdict}{_GAP}{_GAP.join([padded(name, name_width), *told, *each])}".rstrip()]

    lines = row(padded("verdict", first), "claim", statistics[0], headers)
    place: tuple[str, str] | None = None
    group: tuple[str, ...] = ()
    for claim, name, statistic, cells in zip(claims, shown, statistics[1:], numbers, strict=True):
        if place != (place := _place(claim)):
            lines.append(paint(shortened(_heading(claim, claims), width), "heading"))
        if not has_kinds and several[_group(claim)] > 1 and group != _group(claim):
            lines.append(f"{' ' * taken}{shortened(_cell(_group(claim)[-1]), width - taken)}")
        group = _group(claim)
        short = _short(claim)
        space = " " * (first - columns_of(short))
        lines += row(f"{paint(short, verdict_words(claim.verdict, claim.xfail))}{space}", name, statistic, cells)
        if note := cut(_note(claim), 3 * (width - taken)):
            lines += [f"{' ' * taken}{line}" for line in wrapped(note, width - taken, whole=False).split("\n")]
    return "\n".join(lines)


def _place(claim: ClaimRecord) -> tuple[str, str]:
    return claim.id.partition("::")[0], claim.suite


def _heading(claim: ClaimRecord, claims: Sequence[ClaimRecord]) -> str:
    """The suite's name, with its file if another one has the same."""
    file, suite = _place(claim)
    is_shared = any(other.suite == suite and _place(other)[0] != file for other in claims)
    return _cell(f"{suite} ({file})" if is_shared else suite)


def _numbers(claim: ClaimRecord) -> list[str]:
    """Estimate with interval, promise and n."""
    if claim.estimate is None:
        return ["-", "-", str(claim.n or "-")]
    estimate = bounded(claim.estimate, claim.interval, claim.percent)
    return [estimate, promised(_SIGNS[claim.promised], claim.threshold, claim.percent), str(claim.n or "-")]


def _own_name(claim: ClaimRecord) -> str:
    return _cell(own_name(claim.id, claim.name))


def _full_name(claim: ClaimRecord) -> str:
    name = _own_name(claim)
    return name if claim.check in ("", name) else f"{name} ({claim.check})"


def _group(claim: ClaimRecord) -> tuple[str, ...]:
    """What a claim shares with the other assertions of its test, or with the other combinations of its matrix; the last is its name."""
    name = own_name(claim.id, claim.name)
    return (*_place(claim), name.partition("[")[0] if claim.matrix else name)


def _name(claim: ClaimRecord, several: Mapping[tuple[str, ...], int]) -> str:
    """The claim's name where kinds find no room. Below the name of its group: its combination, or else its kind."""
    if several[_group(claim)] == 1:
        return _own_name(claim)
    return _cell(f"  {'-'.join(claim.matrix.values()) if claim.matrix else claim.check}")


def _cell(text: str) -> str:
    """A text of others on one line."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _short(claim: ClaimRecord) -> str:
    """The verdict in words that have room in a narrow column."""
    words = verdict_words(claim.verdict, claim.xfail)
    return words if len(words) <= len("inconclusive") else str(claim.verdict)


def _note(claim: ClaimRecord) -> str:
    """What belongs to a verdict and has no column."""
    words = marks_of(claim)
    words += ["known to fail"] if _short(claim) != verdict_words(claim.verdict, claim.xfail) else []
    if claim.error:
        words.append(_cell(claim.error.partition("\n")[0]))
    return ", ".join(words)


def verdict_counts(
    claims: Sequence[ClaimRecord], *, width: int = WITHOUT_TERMINAL, paint: Paint = lambda text, _: text
) -> str:
    """How many claims have each verdict, passes first."""
    counts = Counter(verdict_words(claim.verdict, claim.xfail) for claim in claims)
    order = ("pass", "xpass", "fail (known)", "inconclusive (known)", "inconclusive", "fail", "error")
    found = {f"{counts[words]} {words}": words for words in order if counts[words]}
    lines: list[list[str]] = [[]]
    for text in found:
        if lines[-1] and columns_of(", ".join([*lines[-1], text])) >= width:
            lines.append([])
        lines[-1].append(text)
    return ",\n".join(", ".join(paint(text, found[text]) for text in line) for line in lines)


def notes_below(claims: Sequence[ClaimRecord]) -> list[str]:
    """The lines below the table, also about claims that passed; the last one says how many wrong verdicts to expect."""
    said = [deployed_moves, noted_lines, control_ranks, texts_left_out, claim_warnings]
    return [line for lines_of in said for line in lines_of(claims)] + [expected_false(claims)]


def expected_false(claims: Sequence[ClaimRecord]) -> str:
    """How many wrong verdicts to expect of the run, at the confidences used."""
    # A claim without an interval is not judged by one: nothing in it is left to chance.
    measured = [claim for claim in claims if claim.threshold is not None and claim.interval != UNBOUNDED]
    adjusted = [claim for claim in measured if claim.holm is not None]
    judged = [claim.confidence for claim in measured if claim.holm is None]
    if not measured:
        judged_exactly = any(claim.estimate is not None for claim in claims)
        return "no claim was judged by an interval" if judged_exactly else "no claim was judged"
    if adjusted:
        level = 1 - min(claim.confidence for claim in adjusted)
        words = f"{len(adjusted)} judged with Holm's adjustment: in each file any false pass has a chance of at most {level:.2g}, so has any false fail"
        return f"{words}\n{_expected(judged)}{_CONDITIONS}" if judged else f"{words}{_CONDITIONS}"
    return f"{_expected(judged)}{_CONDITIONS}"


def deployed_moves(claims: Sequence[ClaimRecord]) -> list[str]:
    """Which way the deployed models of claims about items move; those that do not move up are named."""
    moving: dict[str, list[str]] = {}
    for claim in claims:
        at = claim.details.get("deployed")
        if isinstance(at, dict) and at.get("moves"):
            moving.setdefault(at["moves"], []).append(f"{claim.suite}: {claim.name} at {at['multiplier']:g}")
    parts = []
    for way, words in (("up", "moves up"), ("down", "moves down"), ("neither way", "is not proven to move")):
        if found := moving.get(way):
            named = "" if way == "up" else f" ({_first(found)})"
            parts.append(f"{words} in {len(found)} claim{'s' if len(found) > 1 else ''}{named}")
    return [f"as deployed, the model {', '.join(parts)}"] if parts else []


def control_ranks(claims: Sequence[ClaimRecord]) -> list[str]:
    """Where vectors rank among random directions of equal norm, for the claims that measured some, which may have passed."""
    ranked: dict[tuple[int, float], list[str]] = {}
    for claim in claims:
        found = claim.details.get("controls")
        if isinstance(found, dict) and "p" in found:
            ranked.setdefault((found["count"], found["p"]), []).append(f"{claim.suite}: {claim.name}")
    return [
        f"controls: of the vector and {count} random directions of equal norm, the vector ranks number {round(p * (count + 1))} "
        f"(p = {p:.3g}) in {len(names)} ({_first(names)})"
        for (count, p), names in ranked.items()
    ]


def noted_lines(claims: Sequence[ClaimRecord]) -> list[str]:
    """What readers want to know of claims although they passed (``details.noted``)."""
    return [f"{claim.suite}: {claim.name}: {line}" for claim in claims for line in claim.details.get("noted", ())]


def texts_left_out(claims: Sequence[ClaimRecord]) -> list[str]:
    """Which texts were left out by which rule, for the claims that leave out some, which may have passed."""
    about: dict[str, list[str]] = {}
    for claim in claims:
        of_data = () if claim.data is None else claim.data.left_out
        of_neutral = convert((claim.details.get("neutral") or {}).get("left_out", ()), tuple[LeftOut, ...])
        for one in (*of_data, *of_neutral):
            about.setdefault(f"{one.n} of {one.of}, {one.rule}", []).append(f"{claim.suite}: {claim.name}")
    return [f"texts left out: {line} ({_first(names)})" for line, names in about.items()]


def claim_warnings(claims: Sequence[ClaimRecord]) -> list[str]:
    """What the readers of the table have to know, also of claims that passed; each text once, with the claims it is about."""
    about: dict[str, dict[str, list[str]]] = {}
    for claim in claims:
        for one in claim.findings:
            about.setdefault(sentence(one), {}).setdefault(claim.suite, []).append(claim.name)
    return [
        warning(text, about="; ".join(f"{suite}: {_first(list(dict.fromkeys(names)))}" for suite, names in suites.items()))
        for text, suites in about.items()
    ]


def _first(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _expected(judged: list[float]) -> str:
    found = expected_false_verdicts(judged)
    levels = " and ".join(f"{100 * level:g}" for level in sorted(set(judged)))
    verdicts = "1 verdict" if found.claims == 1 else f"{found.claims} verdicts"
    return f"{verdicts} at {levels} %: expect at most {found.passes:.2g} wrong ones"
