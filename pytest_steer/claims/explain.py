"""Evidence in words: verdict and numbers, where, worst cases, how to run it again."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from ..evidence import Evidence
from ..stats import Direction, Verdict
from .explain_contexts import context_lines, how_to_reproduce
from .explain_cost import cost_lines, looked_at, over_budget_reason
from .explain_tasks import task_lines
from .numbers import number, promise
from .soundness_words import broken_properties, not_looked_at, soundness_headline

WORST = 3


def complete(evidence: Evidence) -> None:
    """Write into evidence what depends on the run it belongs to: how to see a counterexample again, and the message.

    Call it when nothing else of the evidence changes any more.
    """
    if evidence.check == "holds_in_contexts":
        found = evidence.extra.setdefault("counterexample", None)
        if found is not None:
            found["reproduce"] = how_to_reproduce(evidence)
    evidence.message = explain(evidence)


def explain(evidence: Evidence) -> str:
    """The text that a terminal shows for one claim. A pass is two lines; everything else says why and what to do."""
    if evidence.verdict is Verdict.ERROR:
        return "\n".join([f"{evidence.name}: ERROR  {evidence.error}", *_rerun(evidence)])
    lines = [soundness_headline(evidence) if evidence.check == "hooks_are_sound" else _headline(evidence)]
    lines += [f"  warning: {warning}" for warning in evidence.warnings] + _reading(evidence)
    if evidence.check != "hooks_are_sound":
        lines += not_looked_at(evidence)
    if evidence.check == "holds_in_contexts":
        lines += context_lines(evidence)
    if evidence.check == "steers_at_cost":
        lines += cost_lines(evidence)
    if evidence.passed:
        return "\n".join(lines)
    if evidence.check == "hooks_are_sound":
        return "\n".join([*lines, *_where(evidence), *broken_properties(evidence), *_rerun(evidence)])
    lines += _decide(evidence) + _where(evidence) + _settings(evidence) + _curve(evidence) + _strata(evidence)
    if evidence.check == "steers_at_cost":
        lines += looked_at(evidence)
    if evidence.check == "performs_task":
        lines += task_lines(evidence, WORST)
    else:
        lines += _worst_items(evidence) if evidence.items else _worst_texts(evidence)
    found = evidence.extra.get("counterexample")
    reproduce = [f"  show the counterexample again: {found['reproduce']}"] if found else []
    return "\n".join(lines + reproduce + _rerun(evidence))


def _percent(evidence: Evidence) -> bool:
    return evidence.check == "ppl_delta_below"


def _headline(evidence: Evidence) -> str:
    percent = _percent(evidence)
    low, high = (number(bound, percent) for bound in evidence.interval)
    promised = "at least" if evidence.direction is Direction.AT_LEAST else "at most"
    if evidence.holm is not None and evidence.holm["verdict_alone"] != evidence.verdict.value:
        reason = (
            f"{evidence.holm['verdict_alone']} by itself, not after Holm's adjustment over {evidence.holm['claims']} claims"
        )
    elif evidence.details.get("over_budget"):
        reason = over_budget_reason(evidence)
    else:
        reason = {
            Verdict.PASS: "the interval is on the good side",
            Verdict.FAIL: "the interval is on the bad side",
            Verdict.INCONCLUSIVE: "the interval lies across the threshold",
        }[evidence.verdict]
    drawn = evidence.details.get("sequential")
    of = f" of {drawn['available']}, drawn in rounds ({', '.join(map(str, drawn['looks']))})" if drawn else ""
    return (
        f"{evidence.name}: {evidence.verdict.value.upper()}  {evidence.statistic} {number(evidence.estimate, percent)} "
        f"[{low}, {high}], promised {promised} {promise(evidence.threshold, percent)}\n"
        f"  n = {evidence.n} {evidence.unit}{of}, bounds by {evidence.interval_method} at {evidence.confidence:.3g} each side: {reason}"
    )


def _decide(evidence: Evidence) -> list[str]:
    if evidence.verdict is not Verdict.INCONCLUSIVE:
        return []
    if evidence.holm is not None and evidence.holm["verdict_alone"] != evidence.verdict.value:
        return [
            "  the evidence is enough for this claim alone, and not for all claims of its file together: measure more items"
        ]
    if evidence.details.get("over_budget"):
        return ["  not enough evidence whether it costs more than the claim allows: measure more neutral texts"]
    if evidence.holm is not None:
        return ["  not enough evidence; how many items would decide depends on the other claims of the file"]
    if evidence.items_needed is None:
        return ["  not enough evidence, and the estimate is so close to the threshold that no feasible number would decide"]
    plan = "a fixed sample of about" if "sequential" in evidence.details else "about"
    return [
        f"  not enough evidence: {plan} {evidence.items_needed} {evidence.unit} would decide (80 % power, if the estimate is the truth)"
    ]


def _where(evidence: Evidence) -> list[str]:
    lines = []
    if evidence.vector is not None:
        vector = evidence.vector
        norm = f", norm {number(vector['norm'])}" if vector["norm"] is not None else ""
        dose = vector["relative_dose"]
        relative = f" ({dose:.0%} of the median hidden norm)" if dose is not None else ""
        deployed = "" if evidence.check == "steers_at_cost" else "deployed "
        lines.append(
            f"  steered: {vector['method']} at layer {vector['layer']}, positions {vector['positions']}{norm}; {deployed}"
            f"multiplier {number(evidence.multiplier)}{relative}"
        )
        source = vector.get("source")
        if source:
            done = f"; here it is {vector['operation']}" if vector.get("operation") else ""
            lines.append(f"  vector from {source.get('format')}: {source.get('layers')}; norm {source.get('norm')}{done}")
    if evidence.data is not None:
        lines.append(f"  data: {evidence.data['source']}")
    if evidence.check == "ppl_delta_below":
        details = evidence.details
        lines.append(
            f"  perplexity: {details['perplexity_base']:.2f} unsteered, {details['perplexity_steered']:.2f} steered"
        )
    return lines


def _reading(evidence: Evidence) -> list[str]:
    """How answers of different lengths were read, which can turn a sign."""
    lengths = (evidence.asked or {}).get("lengths")
    if evidence.asked is None or not lengths or not lengths["different"]:
        return []
    how = "sum" if evidence.asked["answers"] == "sum" else "mean"
    other = {"mean": "sum", "sum": "mean"}[how]
    return [
        f"  answers differ in length in {lengths['different']} of {lengths['items']} items (on average {lengths['matching']:.1f} matching and "
        f"{lengths['not_matching']:.1f} other tokens): scored by the {how} of token log-likelihoods (`answers: {other}` for the {other})"
    ]


def _settings(evidence: Evidence) -> list[str]:
    rows = [
        [
            setting["name"],
            setting["n"],
            number(setting["steerability"]),
            number(setting["relative"]),
            "[{}, {}]".format(*map(number, setting["interval"])),
            f"{setting['anti_steerable_share']:.2f}",
            setting["verdict"],
            _shorten(setting["put"], 60),
        ]
        for setting in evidence.details.get("settings", [])
    ]
    if not rows:
        return []
    base = evidence.details["base"]
    rows.insert(
        0,
        ["(base)", base["n"], number(base["steerability"]), "1", "", f"{base['anti_steerable_share']:.2f}", "", base["put"]],
    )
    headers = ["setting", "n", "steerability", "relative", "interval", "anti-steerable", "", ""]
    table = tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True)
    return [*_indent(table), f"  in the worst setting, {evidence.details['worst']}:"]


def _curve(evidence: Evidence) -> list[str]:
    if evidence.multipliers is None or evidence.curve is None or "steerability" not in evidence.details:
        return []
    details = evidence.details
    rows = [
        ["multiplier", *(f"{m:g}" for m in evidence.multipliers)],
        ["mean propensity", *(f"{p:.2f}" for p in evidence.curve)],
    ]
    curvature = details.get("curvature")
    # Where effects are judged, "anti-steerable" is about them; the slopes are shown under another name.
    flat = "slopes of 0 or less" if "effects" in details else "anti-steerable share"
    shape = f"  steerability {number(details['steerability'])}, {flat} {details['anti_steerable_share']:.2f}"
    shape += f", curvature {number(curvature)}" if curvature is not None else ""
    shape += f", monotonicity {number(details['monotonicity'])}"
    return [*_indent(tabulate(rows, tablefmt="plain", stralign="right", disable_numparse=True)), shape]


def _strata(evidence: Evidence) -> list[str]:
    if len(evidence.strata) < 2 or "effects" in evidence.details:  # strata are of slopes
        return []
    bad = [stratum for stratum in evidence.strata if _is_bad(evidence, stratum)]
    rows = [
        [
            f"matching answer {stratum['label']}",
            stratum["n"],
            number(stratum["steerability"]),
            f"{stratum['anti_steerable']:.2f}",
            "misses the threshold" if stratum in bad else "",
        ]
        for stratum in evidence.strata
    ]
    title = f"  strata (the claim misses its threshold in {len(bad)} of {len(evidence.strata)}):"
    headers = ["", "n", "steerability", "anti-steerable", ""]
    return [title, *_indent(tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True))]


def _is_bad(evidence: Evidence, stratum: dict[str, Any]) -> bool:
    if evidence.threshold is None:
        return False
    if evidence.statistic == "anti-steerable share":
        return bool(stratum["anti_steerable"] > evidence.threshold)
    return bool(stratum["steerability"] < evidence.threshold)


def _worst_items(evidence: Evidence) -> list[str]:
    items = evidence.items or []
    by_effect = "effects" in evidence.details
    measured = evidence.details["effects"] if by_effect else [item["slope"] for item in items]
    lines = ["  worst items:"]
    for value, item in sorted(zip(measured, items, strict=True), key=lambda pair: pair[0])[:WORST]:
        curve = ", ".join(f"{p:.2f}" for p in item["propensity"])
        lines.append(f"    [{item['id']}] {'effect' if by_effect else 'slope'} {number(value)}, propensity {curve}")
        lines.append(f"      {_shorten(item['question'])}")
        matching, other = (" | ".join(item[side]) for side in ("matching", "not_matching"))
        lines.append(f"      matching: {_shorten(matching, 60)}   not matching: {_shorten(other, 60)}")
    return lines


def _worst_texts(evidence: Evidence) -> list[str]:
    texts = evidence.details.get("texts", [])
    worst = sorted(texts, key=lambda text: text["nll_base"] - text["nll_steered"])[:WORST]
    lines = ["  worst texts (negative log-likelihood per token):"] if worst else []
    for text in worst:
        lines.append(f"    [{text['id']}] {text['nll_base']:.2f} -> {text['nll_steered']:.2f}  {_shorten(text['text'], 90)}")
    return lines


def _rerun(evidence: Evidence) -> list[str]:
    return [f"  run again: {evidence.rerun}"] if evidence.rerun else []


def _shorten(text: str, width: int = 110) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def _indent(text: str) -> list[str]:
    return [f"    {line}".rstrip() for line in text.splitlines()]
