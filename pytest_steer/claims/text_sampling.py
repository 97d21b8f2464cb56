"""What a claim about texts counts: distinct ones, and completions of one prompt together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from ..data import Completion, TextLike, Texts, as_texts
from ..data.likeness import normal_form
from ..data.texts import check_is_text, form_of
from ..errors import DataError
from .sampling import cluster_record, kept_of, shared_ids, twins_of


@dataclass(frozen=True, eq=False)
class TextSample:
    """The texts of a claim.

    Attributes:
        texts: distinct ones, at least two.
        clusters: the cluster of each text, or None if each stands for itself.
        warnings: what the reader has to know about them.
    """

    texts: Texts
    clusters: tuple[int, ...] | None
    warnings: tuple[str, ...]

    @property
    def n(self) -> int:
        """Independent units."""
        return len(self.texts) if self.clusters is None else len(set(self.clusters))

    @property
    def unit(self) -> str:
        """What n counts."""
        return "texts" if self.clusters is None else "clusters"

    def details(self) -> dict[str, Any]:
        """The evidence's ``details.clusters`` record, if there are clusters."""
        return {} if self.clusters is None else cluster_record("prompt", self.clusters, unit="texts")


def sample_of_texts(texts: Sequence[TextLike], source: str) -> TextSample:
    """The texts without those that repeat another one, and their clusters: completions of one prompt.

    If all texts are completions of one prompt, each stands for itself, and a warning says so. Other warnings are about repeats, near
    twins and what a rule left out.

    Raises:
        DataError: fewer than two different texts, which can have no interval.
    """
    known = as_texts(texts)
    for own, text in zip(known.ids, known, strict=True):
        check_is_text(text, f"{source}: text {own}")
    forms = [form_of(text) for text in known]
    kept, repeats = kept_of(forms, "texts")
    if len(kept) < 2:
        raise DataError(f"{source}: has {len(kept)} text(s); an interval needs at least two")
    ruled = [warning for record in known.left_out for warning in record.warnings]
    texts = known.part(kept)
    clusters, shared = prompt_clusters(texts), []
    if clusters is not None:
        shared = [f"{len(texts)} texts are counted as {len(set(clusters))} clusters: some are completions of one prompt"]
    elif _are_of_one_prompt(texts):
        shared = [
            f"these {len(texts)} completions answer one prompt, and n counts the completions: the interval is about other completions of "
            "it, and says nothing about other prompts"
        ]
    twins = twins_of([forms[index] for index in kept], "texts", clusters)
    return TextSample(texts, clusters, (*ruled, *repeats, *shared_ids(texts.ids, "texts"), *shared, *twins))


def prompt_clusters(texts: Sequence[TextLike]) -> tuple[int, ...] | None:
    """The cluster of each text: completions of one prompt are together. None if each text stands for itself, as they all do where there is
    but one prompt."""
    prompts = [*map(_prompt_of, texts)]
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    return None if len(numbers) in (1, len(texts)) else tuple(numbers[prompt] for prompt in prompts)


def _are_of_one_prompt(texts: Sequence[TextLike]) -> bool:
    return len(set(map(_prompt_of, texts))) == 1


def _prompt_of(text: TextLike) -> Hashable:
    """The normal form of the prompt; of a plain text, which has none, that of the text."""
    return (normal_form(text.prompt),) if isinstance(text, Completion) else normal_form(text)


def describe_texts(texts: Sequence[TextLike], source: str) -> dict[str, Any]:
    """The evidence's ``data`` record, with what was chosen and left out where the texts come from."""
    known = as_texts(texts)
    content = json.dumps([text if isinstance(text, str) else [text.prompt, text.text] for text in known], ensure_ascii=False)
    left_out = [{"rule": one.rule, "n": len(one.ids), "of": one.of, "ids": list(one.ids)} for one in known.left_out]
    return {
        "hash": hashlib.sha256(content.encode()).hexdigest(),
        "n": len(known),
        "source": source,
        **({"chosen": known.chosen} if known.chosen else {}),
        **({"left_out": left_out} if left_out else {}),
    }
