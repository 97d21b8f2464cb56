"""Reports of made-up claims, with texts that would like to be obeyed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

from reports import with_records

from pytest_steer.claims.drawn import complete
from pytest_steer.core.block import Conversation, block_record
from pytest_steer.core.evidence import Direction, Evidence, Verdict, error_evidence
from pytest_steer.core.finding import Finding
from pytest_steer.report import build_report

HOSTILE = (
    "</script><script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    '"><svg onload=window.hit=1><a href="javascript:window.hit=1">x</a>',
    "' autofocus onfocus='window.hit=1",
    "</style><style>*{display:none}</style>",
    "</title></textarea></pre><iframe src='http://127.0.0.1:9/frame'></iframe>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css><meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "]]><!-- <math><mtext></mtext></math>",
    "{{ 7 * 7 }} {% raw %}",
    "\u202eright to left\u202c \u2066isolated\u2069 \u200ffirst\u2028line",
    "\x1b[31mred\x1b[0m\x1b]8;;http://127.0.0.1:9/\x07link\x1b]8;;\x07 \x00 \x9b2J",
    "half \ud83d of a character, whole \U0001f600",
    "w" * 3000,
)
MODEL = {
    "id": "made up", "fingerprint": "f" * 64, "architecture": "Made", "layers": 2, "width": 8, "dtype": "float32", "device": "cpu",
    "template": "t" * 64, "template_name": "no chat template",
}  # fmt: skip
VECTOR = {
    "hash": "a" * 64, "method": "caa", "operation": "added", "layer": 1, "positions": "all", "include_first": False, "norm": 2.0,
    "relative_dose": 0.25, "displacement": 0.25, "n": 8, "data_hash": "d" * 64, "source": None,
}  # fmt: skip
GRID = [-1.0, 0.0, 1.0]


def items_of(slopes: Sequence[float], texts: Sequence[str] = ("Is it?",)) -> list[dict[str, Any]]:
    """Items with these slopes; their texts in turn."""
    said = [texts[index % len(texts)] for index in range(len(slopes))]
    return [
        {
            "id": str(index) if text == "Is it?" else f"{index} {text}", "propensity": [slope * at for at in GRID], "slope": slope,
            "label": None, "question": text, "matching": ["Yes", text], "not_matching": ["No"],
        }
        for index, (slope, text) in enumerate(zip(slopes, said, strict=True))
    ]  # fmt: skip


def steers(
    name: str,
    slopes: Sequence[float],
    *,
    verdict: Verdict = Verdict.PASS,
    suite: str = "suite",
    texts: Sequence[str] = ("Is it?",),
    check: str = "steers",
    **more: Any,
) -> dict[str, Any]:
    """The record of a claim about items with these slopes."""
    n, mean = len(slopes), sum(slopes) / len(slopes)
    wrong = sum(slope <= 0 for slope in slopes) / n
    made: dict[str, Any] = {
        "statistic": "steerability",
        "estimate": mean,
        "interval": (mean - 0.125, mean + 0.125),
        "interval_method": "t",
        "threshold": mean - 0.25 if verdict is Verdict.PASS else mean + 0.25,
        "direction": Direction.AT_LEAST,
        "n": n,
        "seconds": 1.5,
        "multiplier": 1.0,
        "model": MODEL,
        "vector": VECTOR,
        "data": {"hash": "b" * 64, "n": n, "source": f"{suite}_test.json"},
        "multipliers": GRID,
        "curve": [mean * at for at in GRID],
        "curve_interval": [[mean * at - 0.25, mean * at + 0.25] for at in GRID],
        "items": items_of(slopes, texts),
        "strata": [
            {"label": label, "n": n // 2, "steerability": mean, "anti_steerable_share": wrong} for label in ("A", texts[0])
        ],
        "details": {
            "steerability": mean, "anti_steerable_share": wrong, "curvature": None, "monotonicity": 1.0, "explained": {},
            "deployed": {"multiplier": 1.0, "mean_effect": mean, "interval": [mean, mean], "moves": "up", "direction": "raises"},
        },
        "compared": {
            "n": n, "spread": 1.0, "steerability": mean, "steerability_interval": [mean, mean], "anti_steerable_share": wrong,
            "deployed": {"multiplier": 1.0, "effect": mean, "interval": [mean, mean], "wrong_way": wrong, "cost": 0.02, "reached": None},
            "rank": 0,
        },
        "noise": {
            "score": 1e-6, "between_batches": 1e-6, "rounding": 1e-7, "unit": "logits", "statistic": 1e-6, "interval_is_narrower": False
        },
        "receipt": {
            "operation": "added", "sequences": n, "steered_tokens": 10 * n, "path": "plain", "ways": {"plain": n},
            "doses": [{"layer": 1, "norm": 2.0, "median_hidden_norm": 8.0, "relative_dose": 0.25, "displacement": 0.25}],
        },
        "soundness": {
            "sound": True, "holds": ["multiplier_0"], "skipped": {}, "broken": [], "examples": 3, "forwards": 9, "seconds": 0.5
        },
        "asked": {
            "template": "no chat template", "thinking": None, "date": None, "answers": "token", "lengths": None, "notes": list(texts),
            "first_item": [
                {"tokens": [texts[0], " ", "Answer:"], "first_steered": 1, "first_scored": 3, "candidates": ["Yes", texts[-1]]}
            ],
        },
    }  # fmt: skip
    place = f"{suite}.steer.yaml::{name}"
    made = with_records(made) | {"id": place, "suite": suite, "rerun": f"pytest {place}"}
    said = tuple(Finding("made-up", text) for text in more.pop("warnings", ()))
    evidence = complete(Evidence("steers", name, verdict, **made | {"findings": said} | with_records(more)))
    return evidence.but(check=check).to_dict()


def broken_off(name: str, why: str, suite: str = "suite") -> dict[str, Any]:
    """The record of a claim that could not be measured."""
    evidence = error_evidence("steers", name, why)
    return evidence.but(id=f"{suite}.steer.yaml::{name}", suite=suite, message=f"{name}: ERROR  {why}").to_dict()


def report_of(claims: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The report of these claims, valid under the schema."""
    return build_report(claims, seed=0, profile="ci", started=1.0e9) | more


def slopes(n: int, seed: int = 0, mean: float = 0.5, spread: float = 0.5) -> list[float]:
    """Made-up slopes, some of them on the wrong side of 0."""
    draw = random.Random(seed)
    return [draw.gauss(mean, spread) for _ in range(n)]


def mixed(texts: Sequence[str] = ("Is it?",)) -> dict[str, Any]:
    """A report with every verdict, with these texts wherever a text of somebody's stands."""
    said = texts[0] if len(texts) > 1 else "known"
    replies = replies_of(max(6, len(texts)), (*texts, "word " * 300), turns=2)
    return report_of(
        [
            steers("holds", slopes(40), texts=texts),
            steers("breaks", slopes(40, 1, 0.1), verdict=Verdict.FAIL, texts=texts, warnings=list(texts)) | {"replies": replies},
            steers("open", slopes(40, 2), verdict=Verdict.INCONCLUSIVE, texts=texts, threshold=0.5, suite="second"),
            steers("known", slopes(40, 3), verdict=Verdict.FAIL, xfail=said, texts=texts, suite="second"),
            steers("unexpected", slopes(40, 4), xfail=said, texts=texts),
            broken_off("unread", " ".join(texts)),
            *(steers(text, slopes(9, 5), suite=text, check="no_such_kind", texts=texts) for text in texts if len(texts) > 1),
        ]
    )  # fmt: skip


def replies_of(pairs: int, texts: Sequence[str] = ("A reply.",), *, turns: int = 1, judged: bool = True) -> dict[str, Any]:
    """A claim's replies: so many pairs of so many turns. Texts come in turn, outcomes one after the other."""
    outcomes = ("rejected", "undetermined", "missing", "accepted")
    why = {"undetermined": "loops: its last 9 tokens", "missing": "the judge gave no number"}

    def side(at: int, outcome: str) -> dict[str, Any]:
        known = outcome if judged or outcome == "undetermined" else None
        return {
            "turns": [texts[(at + turn) % len(texts)] for turn in range(turns)],
            "outcome": known,
            "why": why.get(known or ""),
            "score": {"rejected": 3, "accepted": 8}.get(known or ""),
            "said": f"The judge on {at}: {texts[at % len(texts)]}" if judged else None,
            "cut": at % 5 == 4,
        }

    of = [
        {
            "id": f"q{at}",
            "prompt": [f"Prompt {at}, turn {turn}: {texts[at % len(texts)]}" for turn in range(turns)],
            "sample": at % 2,
            "base": side(at, "accepted"),
            "steered": side(at + 1, outcomes[at * len(outcomes) // pairs]),
        }
        for at in range(pairs)
    ]
    counts = {
        name: {outcome: sum(one[name]["outcome"] == outcome for one in of) for outcome in outcomes}
        for name in ("base", "steered")
    }
    return {
        "span": "answer", "max_characters": 2000, "drawing": {"max_new_tokens": 64, "samples": 2, "temperature": 0.7, "seed": 0},
        "judge": {"judge": "chat", "model": "grader", "rubric": texts[0], "scale": [1, 10]} if judged else None,
        "agreement": {"kappa": 0.3125, "interval": [0.125, 0.5], "n": 40} if judged else None,
        "counts": counts, "of": of,
    }  # fmt: skip


def generates(
    name: str, pairs: int = 6, texts: Sequence[str] = ("A reply.",), *, turns: int = 1, judged: bool = True, **more: Any
) -> dict[str, Any]:
    """The record of a claim about replies, broken if nothing else is said."""
    verdict = more.pop("verdict", Verdict.FAIL)
    record = steers(name, slopes(pairs, 6, 0.1), verdict=verdict, texts=texts, check="no_such_kind", **more)
    for key in ("items", "multipliers", "curve", "curve_interval"):
        del record[key]
    blocks = [block_record(Conversation(is_reason=True))]
    return record | {"strata": [], "blocks": blocks, "replies": replies_of(pairs, texts, turns=turns, judged=judged)}


@cache
def shared_page(name: str) -> str:
    """A page that many tests look at, made once in a process: with harmless texts (``plain``) or ``hostile`` ones."""
    from pytest_steer.report.page import page_of

    return page_of(mixed(HOSTILE if name == "hostile" else ("Is it?",)))
