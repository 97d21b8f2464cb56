"""The judge ``classifier``: a text classifier of transformers gives each reply the probability of a label."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from ...core.columns import one_screen
from ...core.errors import ModelError, SteerError
from ...core.evidence import Json
from ...core.parameters import Param
from ...core.registry import did_you_mean
from ...core.run_context import current_run, report_progress
from ...core.sources import find_model
from ...model.gguf import quiet_transformers
from ...model.identity import tokenizer_hash
from ...model.loading import pick_device
from ...model.weights import check_complete, hash_of_bytes
from .kinds import Cached, Exchange, Judgement, judge, named_from

_WHAT = "the judge 'classifier'"


@judge("classifier", title="A text classifier")
@dataclass(frozen=True)
class Classifier:
    """A text classifier of transformers gives the reply, without its prompt, the probability of a label."""

    model: Annotated[
        str,
        Param(
            "A folder, or the id of a model on the hub. Its weights are in safetensors files.", example="models/sentiment"
        ),
    ]
    label: Annotated[str, Param("The label of replies that are accepted.", example="POSITIVE")]
    at_least: Annotated[float, Param("The least probability of the label.", above=0, at_most=1)] = 0.5
    cache: Cached = None
    base: Path = Path()

    def __post_init__(self) -> None:
        source = find_model(named_from(self.base, self.model))
        if source.kind == "gguf":
            raise ModelError(
                f"{_WHAT}: {self.model} is a GGUF file, which holds no classifier. Name a folder of transformers"
            )

    @cached_property
    def _loaded(self) -> _Loaded:
        source = find_model(named_from(self.base, self.model))
        found = _load(self.model, str(source.place), str(pick_device(current_run().device)))
        labels = list(found.hf.config.id2label.values())
        if self.label not in labels:
            raise SteerError(f"{_WHAT}: {self.model} has no label {self.label!r}: {did_you_mean(self.label, labels)}")
        return found

    def judge(self, exchanges: Sequence[Exchange]) -> Iterator[Judgement]:
        for exchange in exchanges:
            yield self._judgement(exchange.reply)

    def _judgement(self, reply: str) -> Judgement:
        loaded = self._loaded
        n = len(loaded.tokenizer(reply)["input_ids"])
        if n > loaded.most_tokens:  # a part of the reply would be judged in the place of all of it
            return Judgement.none(f"the reply has more tokens than the {loaded.most_tokens} that the classifier takes")
        found = {one["label"]: float(one["score"]) for one in loaded.pipeline(reply, top_k=None)}
        score = found[self.label]
        if not math.isfinite(score):
            return Judgement.none(f"the classifier gave {score}")
        likeliest = max(found, key=found.__getitem__)
        return Judgement(score >= self.at_least, score=score, said=f"{likeliest} {found[likeliest]:.2f}")

    def record(self) -> Json:
        own = {"model": self.model, "label": self.label, "at_least": self.at_least}
        return {"judge": "classifier", **own, "fingerprint": self._loaded.fingerprint}


@dataclass(frozen=True)
class _Loaded:
    hf: Any
    tokenizer: Any
    pipeline: Any

    @cached_property
    def most_tokens(self) -> int:
        limits = (self.tokenizer.model_max_length, getattr(self.hf.config, "max_position_embeddings", None))
        return min(int(limit) for limit in limits if limit)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the configuration, the weights and the tokenizer."""
        config = json.dumps(self.hf.config.to_dict(), sort_keys=True, default=str)
        parts = [config, hash_of_bytes(sorted(self.hf.state_dict().items())), tokenizer_hash(self.tokenizer)]
        return sha256("\n".join(parts).encode()).hexdigest()


@lru_cache(maxsize=2)
def _load(name: str, place: str, device: str) -> _Loaded:
    """The classifier at a place, on a device.

    Raises:
        ModelError: it cannot be loaded, its weights are not in safetensors files, or some are missing.
    """
    import transformers

    report_progress(f"loading the classifier {name}")
    try:
        with quiet_transformers():
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            hf: Any
            info: Any
            hf, info = transformers.AutoModelForSequenceClassification.from_pretrained(
                place, use_safetensors=True, trust_remote_code=False, output_loading_info=True, ignore_mismatched_sizes=True
            )
    except Exception as error:  # transformers, safetensors and the hub client raise nearly anything
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{_WHAT}: {name} cannot be loaded: {type(error).__name__}: {one_screen(first, share=0.5)}"
        ) from error
    check_complete(name, hf, info)
    pipeline = transformers.pipeline("text-classification", model=hf.eval(), tokenizer=tokenizer, device=device)
    return _Loaded(hf, tokenizer, pipeline)
