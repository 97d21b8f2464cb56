"""Which settings go with which method of extraction and which kind of intervention: what a schema cannot say in good words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pytest_steer.files.messages import Fault
from pytest_steer.files.schema import SCHEMA, valid_keys
from pytest_steer.files.source import DataPath
from pytest_steer.validation import example_of

_INTERVENTION = valid_keys(SCHEMA["properties"]["intervention"])
_EXTRACT = valid_keys(_INTERVENTION["extract"])
METHODS: tuple[str, ...] = tuple(_EXTRACT["method"]["enum"])
KIND_NAMES: tuple[str, ...] = tuple(_INTERVENTION["kind"]["enum"])
At = Callable[..., DataPath]
"""From a key, or the keys down to it, to where it is written."""

_READ_SIDES = ("caa", "mean_difference", "pca", "probe", "mean_matching", "mimic", "leace", "ablation", "random")
METHODS_WITH: dict[str, tuple[str, ...]] = {
    "readout": _READ_SIDES,
    "at": ("ablation",),
    "heads": ("fv",),
    "shots": ("fv",),
    "prompts": ("fv",),
    "ridge": ("mimic",),
    "epochs": ("learned",),
    "rate": ("learned",),
}
"""Setting of ``extract`` to the methods that have it."""

_OWN_SHAPE = ("icv", "mimic", "leace", "ablation")  # these give an intervention, not a vector
_KIND_WITH = {"value": "clamp", "keep": "masked", "angle": "rotate", "toward": "rotate"}
_NEEDED = {"clamp": "value", "masked": "keep", "rotate": "toward"}
_NO_LAYER = ("icv", "fv")
_ONE_LAYER = ("fv", "ablation", "learned")


def method_faults(entry: dict[str, Any], at: At, *, own: dict[str, Any], is_intervention: bool) -> Iterator[Fault]:
    """What is wrong with a ``vector`` or ``intervention`` entry as a whole, whose keys and values are right one by one.

    Args:
        own: the keys that are said of this method alone; others may belong to another method of a matrix, and are left aside.
    """
    if "extract" in entry:
        yield from _extract_faults(entry, at, own)
    if is_intervention:
        yield from _kind_faults(entry, at, own)


def _extract_faults(entry: dict[str, Any], at: At, own: dict[str, Any]) -> Iterator[Fault]:
    method, layer = entry["extract"]["method"], entry.get("layer")
    if layer is None and method not in _NO_LAYER:
        about = _INTERVENTION["layer"]
        hint = f"Add `{example_of('layer', about)}`. {about['description']}"
        yield Fault(at(), "'layer' is missing, and 'extract' needs it", hint)
    if layer == "all":
        yield Fault(
            at("layer"), "'all' means all layers of a saved vector", "Name the layers to extract at, such as `layer: 14`."
        )
    if "rows" in own:
        yield Fault(at("rows"), "'rows' is about a saved stack, and this vector is extracted", "Delete `rows`.")
    if "layer" in own and method == "icv":
        yield Fault(at("layer"), "the method icv acts at all layers", "Delete `layer`.")
    if isinstance(layer, list) and len(layer) > 1 and method in _ONE_LAYER:
        yield Fault(at("layer"), f"the method {method} takes one layer, but these are {len(layer)}", "Name one of them.")
    for key in own.get("extract", {}):
        if key in METHODS_WITH and method not in METHODS_WITH[key]:
            yield Fault(
                at("extract", key),
                f"{key!r} is no setting of the method {method}",
                f"Delete it, or use a method that has it: {', '.join(METHODS_WITH[key])}. {_EXTRACT[key]['description']}",
            )


def _kind_faults(entry: dict[str, Any], at: At, own: dict[str, Any]) -> Iterator[Fault]:
    kind = entry.get("kind")
    method = entry.get("extract", {}).get("method")
    if method in _OWN_SHAPE and kind is not None:
        yield Fault(at("kind"), f"the method {method} says itself how it is applied", "Delete `kind`.")
    for key, owner in _KIND_WITH.items():
        if key in own and kind != owner:
            but = f", but the kind is {kind}" if kind else ""
            hint = f"Write `kind: {owner}`, or delete it. {_INTERVENTION[key]['description']}"
            yield Fault(at(key), f"{key!r} is a setting of kind {owner}{but}", hint)
    if kind in _NEEDED and _NEEDED[kind] not in entry:
        key = _NEEDED[kind]
        about = _INTERVENTION[key]
        hint = f"Add `{example_of(key, about)}`. {about['description']}"
        yield Fault(at(), f"{key!r} is missing, and kind {kind} needs it", hint)
    if entry.get("site", "block") == "block":
        return
    if "condition" in entry:
        reason = "a condition is read at the output of blocks, and what it gates has to act there"
        yield Fault(at("site"), reason, "Delete `site`, or `condition`.")
    elif kind is None:
        kinds = ", ".join(_INTERVENTION["kind"]["enum"])
        reason = "without a kind the file or the method says the site"
        yield Fault(at("site"), reason, f"Delete `site`, or add a `kind`: {kinds}.")
