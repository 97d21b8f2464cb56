"""What ``compare-models`` prints of two models, in the columns of the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..columns import current_columns, shortened, table, wrapped

if TYPE_CHECKING:
    from ..stats import Decomposition, RankCorrelation, VarianceShare
    from ..studies.compare_models import Answers, Ranked, Slopes

_FACTORS = ("letter", "yes_no", "position", "context")
_NAME = 24


def claim_lines(against: Mapping[str, Any]) -> Iterator[str]:
    """What became of each claim, worst first, and how many came to what."""
    from ..against.held_against import OUTCOMES
    from ..against.words import counts_line

    yield _wrapped("Claims on A and on B, paired by item")
    for note in against["notes"]:
        yield _wrapped(f"  {note}")
    for entry in sorted(against["claims"], key=lambda entry: OUTCOMES.index(entry["outcome"])):
        yield _wrapped(f"  {entry['message']}")
    yield _wrapped(f"  {counts_line(against)}")


def slope_lines(answers: Answers, first: Mapping[str, Slopes], second: Mapping[str, Slopes]) -> Iterator[str]:
    """The answers to Tan et al.'s questions, each under its question."""
    for name, reason in answers.refused.items():
        yield _wrapped(f"not compared: {name}: {reason}")
    yield _wrapped("Do A and B order behaviours alike? (Spearman, of steerabilities)")
    yield _ranked_line(answers.behaviours)
    rows = [[_cut(one.name), *_numbers(one.found)] for one in answers.items if one.found is not None]
    if rows:
        yield _wrapped("\nDo A and B order a behaviour's items alike? (Spearman, of slopes)")
        yield _table(rows, ["behaviour", "n", "rho", "interval"])
    of_a, of_b = ({one.name: one for one in side} for side in answers.contexts)
    yield _wrapped("\nDoes the order of behaviours carry over to other contexts? (Spearman)")
    names = list(dict.fromkeys([*of_a, *of_b]))
    if names:
        rows = [[_cut(name), *_of_context(of_a.get(name)), *_of_context(of_b.get(name))] for name in names]
        yield _table(rows, ["context", "A: n", "rho", "interval", "B: n", "rho", "interval"])
    else:
        yield _wrapped('  the claim files name no other contexts: add `contexts: {system: ["You are helpful."]}`')
    yield _wrapped("\nWhat explains the variance of the slopes? (alone; A above B)")
    yield from _shares(answers)
    for label, side in (("A", first), ("B", second)):
        for own in side.values():
            for setting, reason in own.left_out.items():
                yield _wrapped(f"left out on {label}: {own.behaviour}, {setting}: {reason}")


def _shares(answers: Answers) -> Iterator[str]:
    rows, together = [], []
    for name in dict.fromkeys([*answers.shares[0], *answers.shares[1]]):
        for label, side in zip("AB", answers.shares, strict=True):
            found = side.get(name)
            if found is not None:
                rows.append([_cut(name) if label == "A" or name not in answers.shares[0] else "", label, *_parts(found)])
                together += [
                    f"{name}: {' and '.join(pair)} go together in its items, and cannot be told apart"
                    for pair in found.inseparable
                ]
    if not rows:
        yield "  nothing can: labels and contexts do not vary, or there are under 8 items"
        return
    yield _table(rows, ["behaviour", "", "letter", "Yes/No", "position", "context", "all"], keys=2)
    yield _wrapped(
        "Shares by themselves, with bounds at 95 % each. What two factors share is in both, so they need not add up to `all`."
    )
    yield from map(_wrapped, dict.fromkeys(together))


def _parts(found: Decomposition) -> list[str]:
    return [*(_share(found.alone.get(name)) for name in _FACTORS), _share(found.together)]


def _share(share: VarianceShare | None) -> str:
    return "-" if share is None else f"{share.estimate:.2f} {share.low:.2f}-{share.high:.2f}"


def _ranked_line(ranked: Ranked) -> str:
    if ranked.found is None:
        return _wrapped(f"  not known: {ranked.reason}")
    n, rho, interval = _numbers(ranked.found)
    return f"  rho {rho} {interval} over {n} behaviours"


def _of_context(ranked: Ranked | None) -> list[str]:
    if ranked is None or ranked.found is None:
        return [str(len(ranked.of)) if ranked is not None else "-", "-", "-"]
    return _numbers(ranked.found)


def _numbers(found: RankCorrelation) -> list[str]:
    interval = "-" if found.low is None else f"[{found.low:.2f}, {found.high:.2f}]"
    return [str(found.n), f"{found.estimate:.2f}", interval]


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str], keys: int = 1) -> str:
    return "\n".join(f"  {line}" for line in table(rows, headers, width=current_columns() - 2, keys=keys, rule=False))


def _wrapped(text: str) -> str:
    return wrapped(text, current_columns())


def _cut(name: str) -> str:
    return shortened(name, _NAME)


def answers_record(answers: Answers, first: Mapping[str, Slopes], second: Mapping[str, Slopes]) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "behaviours": _ranked_record(answers.behaviours),
        "items": [_ranked_record(one) for one in answers.items],
        "contexts": [[_ranked_record(one) for one in side] for side in answers.contexts],
        "variance": [{name: _decomposition_record(found) for name, found in side.items()} for side in answers.shares],
        "refused": dict(answers.refused),
        "slopes": [
            {
                name: {
                    "items": list(own.ids),
                    "settings": {one.name: [float(slope) for slope in one.slopes] for one in own.settings},
                    "left_out": own.left_out,
                }
                for name, own in side.items()
            }
            for side in (first, second)
        ],
    }


def _ranked_record(ranked: Ranked) -> dict[str, Any]:
    found = ranked.found._asdict() if ranked.found is not None else None
    return {"name": ranked.name, "of": list(ranked.of), "spearman": found, "reason": ranked.reason}


def _decomposition_record(found: Decomposition | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "alone": {name: vars(share) for name, share in found.alone.items()},
        "unique": {name: vars(share) for name, share in found.unique.items()},
        "together": vars(found.together),
        "inseparable": [list(pair) for pair in found.inseparable],
        "n": found.n,
        "units": found.units,
        "confidence": found.confidence,
    }
