"""Methods of extraction: the decorator :func:`method` that registers a function as one, and its record, :class:`MethodKind`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from ..core import registry
from ..core.errors import SteerError
from ..core.parameters import Schema, hints_of, keywords_of
from ..model import Model
from ..model.arguments import checks_arguments
from ..prompting import Context
from ..steering import Intervention, SteeringVector
from .training import Training

Function = TypeVar("Function", bound=Callable[..., SteeringVector | Intervention])
Takes = Literal["items", "contrast", "demonstrations", "any"]
Layers = Literal["several", "one", "none"]

_TAKEN = ("method", "data", "columns")  # keys of ``extract:`` for any method
_FORMS: dict[Takes, Callable[[Training, str], Any]] = {
    "items": Training.items,
    "contrast": Training.contrast,
    "demonstrations": Training.demonstrations,
    "any": lambda training, _: training.data,
}


@dataclass(frozen=True)
class MethodKind:
    """One method of extraction.

    Attributes:
        name: ``method`` in a claim file.
        function: takes the model and the data.
        takes: the form of its data. ``items``: contrast items. ``contrast``: contrast items, or (positive texts, negative texts).
            ``demonstrations``: pairs of input and output. ``any``: each of these, as the file holds it.
        settings, required, filled: the keywords of the function; see :class:`~pytest_steer.core.parameters.Keywords`. ``layer``,
            ``context`` and ``seed`` are filled in.
    """

    name: str
    function: Callable[..., SteeringVector | Intervention]
    takes: Takes
    settings: dict[str, Schema]
    required: list[str]
    filled: frozenset[str]

    @cached_property
    def about(self) -> str:
        """The first sentence of the function's docstring."""
        return (self.function.__doc__ or "").strip().split("\n")[0]

    @cached_property
    def layers(self) -> Layers:
        """How many layers can be named, as the type of ``layer`` says."""
        if "layer" not in self.filled:
            return "none"
        hint = hints_of(self.function)["layer"]
        return "several" if any(get_origin(one) in (Sequence, list, tuple) for one in (hint, *get_args(hint))) else "one"

    @cached_property
    def needs_layer(self) -> bool:
        """Whether a layer has to be named."""
        return self.layers != "none" and type(None) not in get_args(hints_of(self.function)["layer"])

    @cached_property
    def gives_intervention(self) -> bool:
        """Whether it gives an intervention, which settles how it is applied."""
        return hints_of(self.function).get("return") is Intervention

    def extract(
        self,
        model: Model,
        training: Training,
        *,
        layers: Sequence[int] | None,
        context: Context,
        seed: int,
        settings: Mapping[str, Any],
    ) -> SteeringVector | Intervention:
        """The vector or intervention that it makes of the data.

        Args:
            settings: those of other methods are left aside.

        Raises:
            SteerError: the data cannot be used, there is no layer, or the result is neither vector nor intervention, or for other
                layers.
        """
        if not layers and self.needs_layer:
            raise SteerError(f"the method {self.name} needs a layer")
        layer = layers if layers is None or self.layers == "several" else layers[0]
        known = {**settings, "layer": layer, "context": context, "seed": seed}
        given = {name: known[name] for name in (*self.filled, *self.settings) if name in known}
        before = model.weights_state()
        made = self.function(model, _FORMS[self.takes](training, self.name), **given)
        home = f"{registry.home_of('method', self.name)}: the method {self.name!r}"
        if model.weights_state() != before:
            raise SteerError(f"{home} changed the model's weights, so another model would be measured: let it put them back")
        what = f"{home} gave"
        if not isinstance(made, (SteeringVector, Intervention)):
            raise SteerError(f"{what} {type(made).__name__}, not a SteeringVector or Intervention")
        is_vector = isinstance(made, SteeringVector)  # what reads at one layer may act on others
        if is_vector and layers and self.layers != "none" and set(made.layers) != set(layers):
            raise SteerError(f"{what} one for layers {sorted(made.layers)}, and layers {sorted(layers)} were asked for")
        return made


def method(name: str, *, takes: Takes) -> Callable[[Function], Function]:
    """Register a function from a model and data to a vector, or to an intervention, as a ``method`` of claim files.

    Args:
        takes: the form of its data; see :class:`MethodKind`.

    Raises:
        SteerError: the name is taken, or the function's signature does not say all.
    """

    def decorate(function: Function) -> Function:
        home = function.__module__
        if takes not in _FORMS:
            raise SteerError(f"{home}: the method {name!r} takes {', '.join(_FORMS)}; not {takes!r}")
        keywords = keywords_of(function, positional=("model", "data"), fillable=("layer", "context", "seed"), taken=_TAKEN)
        if hints_of(function).get("return") not in (SteeringVector, Intervention):
            raise SteerError(f"{home}: say what the method {name!r} gives: `-> SteeringVector` or `-> Intervention`")
        registry.register("method", name, MethodKind(name, function, takes, **keywords._asdict()), home=home)
        return cast(Function, checks_arguments(function))

    return decorate


def method_kind(name: str) -> MethodKind:
    """The method of that name.

    Raises:
        SteerError: there is none.
    """
    found: MethodKind = registry.find("method", name)
    return found
