"""A sweep in words: its tables and maps, how it chose, and what to try when nothing keeps the limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from ..data import Items, Sample, sample_of
from ..studies.sweep import Candidate, Limits, PairsResult, Parts, Sweep
from .heat_map import heat_map


def sweep_text(sweep: Sweep, parts: Parts, *, model: str, vector: str) -> str:
    """Everything that was measured, and what was chosen.

    Args:
        model / vector: what they are called.
    """
    measured, columns = sweep.measured, [f"{m:g}" for m in sweep.multipliers]
    rows = [str(result.layer) for result in measured]
    texts = [f"{len(part)} {name} texts" for name, part in (("validation", parts.texts), ("test", parts.test_texts)) if part]
    chosen_on = ", ".join([counted(sweep.sample, "validation"), *texts[:1]])
    kept = " and ".join([counted(sample_of(parts.test, parts.cluster, at_least=0), "test"), *texts[1:]])
    paragraphs = [
        f"{model}: {vector}, positions {sweep.positions}\n{chosen_on}; {kept} are not looked at\n"
        f"first order ranks the layers; the best {len(measured)} of {len(sweep.layers)} are measured at every multiplier",
        layer_table(sweep),
        "effect: mean propensity minus that at multiplier 0 (layer down, multiplier across)\n"
        + heat_map(rows, columns, [result.effects.tolist() for result in measured]),
    ]
    if parts.texts:
        costs = [list(result.perplexity or ()) for result in measured]
        paragraphs.append("change of perplexity on the validation texts\n" + heat_map(rows, columns, costs, percent=True))
        paragraphs += [f"texts: {record.line}" for record in parts.texts.left_out]
    limit = f" that raise perplexity by at most {sweep.limits.budget:.4g}" if parts.texts else ""
    paragraphs.append(
        "rule: of the layers with a steerability above 0 and an anti-steerable share of at most "
        f"{sweep.limits.anti_steerable_share:g}, the one with the largest\nsteerability; of its multipliers{limit}, the one with "
        f"the largest effect\n{_chosen(sweep)}"
    )
    return "\n\n".join(paragraphs)


def counted(sample: Sample[Items], name: str) -> str:
    """How many items, and in how many clusters."""
    return f"{len(sample.units)} {name} items" + (f" ({sample.n} clusters)" if sample.clusters is not None else "")


def layer_table(sweep: Sweep) -> str:
    """One line per layer: what ranked it, what was measured, and why it cannot be chosen."""
    rows = []
    for result in sweep.layers:
        row = [str(result.layer), f"{result.first_order:.3f}"]
        if result.curve is None:
            row += ["", "", ""]
        else:
            found = result.steerability
            row += [f"{found.estimate:.3f}", f"[{found.low:.3f}, {found.high:.3f}]", f"{result.anti_steerable_share:.2f}"]
        chosen = sweep.choice is not None and sweep.choice.layer == result.layer
        rows.append([*row, "chosen" if chosen else result.note])
    headers = ["layer", "first order", "steerability", "interval", "anti-steerable", ""]
    return str(tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True, colalign=["right"] * 5 + ["left"]))


def efficiency_table(found: Sequence[PairsResult], at: Candidate) -> str:
    """The effect by how many training pairs a vector is made from."""
    rows = []
    for one in found:
        effect, by_draw = one.effect, one.by_draw
        among = f"{by_draw.min():+.3f} to {by_draw.max():+.3f}" if len(by_draw) > 1 else ""
        cosine = sum(one.cosines) / len(one.cosines)
        rows.append(
            [
                str(one.pairs), str(len(by_draw)), f"{effect.estimate:+.3f}", f"[{effect.low:+.3f}, {effect.high:+.3f}]",
                among, f"{one.wrong_way:.2f}", f"{cosine:.2f}",
            ]
        )  # fmt: skip
    headers = ["pairs", "draws", "effect", "interval", "among draws", "not above 0", "cosine with all pairs"]
    table = str(tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True, colalign=["right"] * 7))
    return f"effect of vectors from fewer training pairs, at layer {at.layer} and multiplier {at.multiplier:g}, on the validation items\n{table}"


def _chosen(sweep: Sweep) -> str:
    choice = sweep.choice
    if choice is None:
        return "\n".join(["chosen: none, no measured layer and multiplier keeps these limits", *_why_none(sweep)])
    cost = f", perplexity {choice.perplexity:+.1%}" if choice.perplexity is not None else ""
    return (
        f"chosen: layer {choice.layer}, multiplier {choice.multiplier:g} (effect {choice.effect:+.3f}{cost})\n"
        "What was chosen on the validation items looks better there than it is: test it on items that the sweep did not see."
    )


def _why_none(sweep: Sweep) -> Iterator[str]:
    """The nearest candidate, the limits that it breaks and by how much, and one thing to try."""
    nearest = sweep.nearest
    yield f"nearest: layer {nearest.layer}, multiplier {nearest.multiplier:g}"
    yield from (f"  {line}" for line in _broken(nearest, sweep.limits))
    yield _advice(sweep, nearest)


def _broken(nearest: Candidate, limits: Limits) -> Iterator[str]:
    if not nearest.steerability > 0:
        yield f"steerability {nearest.steerability:.3g}, which has to be above 0"
    elif not nearest.effect > 0:
        yield f"effect {nearest.effect:+.3g}, which has to be above 0"
    if nearest.steerability > 0 and "anti_steerable_share" in nearest.excess:
        allowed = limits.anti_steerable_share
        over = nearest.anti_steerable_share - allowed
        yield f"anti-steerable share {nearest.anti_steerable_share:.2f}, {over:.2f} more than the limit of {allowed:g}"
    if "budget" in nearest.excess and nearest.perplexity is not None:
        allowed = limits.budget
        over = 100 * (nearest.perplexity - allowed)
        yield f"perplexity {nearest.perplexity:+.1%}, {over:.1f} percentage points more than the limit of {allowed:+.1%}"


def _advice(sweep: Sweep, nearest: Candidate) -> str:
    if nearest.steers and set(nearest.excess) == {"budget"}:
        smaller = [f"{nearest.multiplier * share:g}" for share in (0.25, 0.5, 0.75)]
        return f"Try smaller multipliers: --multipliers={','.join(smaller)}"
    if nearest.steerability > 0 and not nearest.effect > 0:
        return f"Try multipliers of the other sign too: --multipliers={-nearest.multiplier:g},{nearest.multiplier:g}"
    if len(sweep.measured) < len(sweep.layers):
        left = len(sweep.layers) - len(sweep.measured)
        return f"Try the {left} {'layer that was' if left == 1 else 'layers that were'} not measured: --keep 1"
    if sweep.at(nearest.layer).steerability.high < 0:
        return "Try the other direction: swap the two answers of the training items, or the two sides of the training texts"
    return "Try training data with more or clearer pairs, or another method: pytest-steer list shows them"
