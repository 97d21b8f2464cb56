"""check_extension: all of ours keep to what it asks, and a fault of each kind is found."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import torch

from pytest_steer import Context, ContrastItem, Model, SteeringVector, axis
from pytest_steer.core import registry
from pytest_steer.core.errors import SteerError
from pytest_steer.extend import AboutItems, Ask, Mean, Measurement, Param, Promise, check_extension, claim
from pytest_steer.extract import Data, method
from pytest_steer.report import report_format
from pytest_steer.steering import Intervention, add, custom, intervention

QUICK = [
    ("claim", "steers"),
    ("method", "caa"),
    ("intervention", "add"),
    ("axis", "filler"),
    ("judge", "contains"),
    ("report format", "markdown"),
]
# What the built-in data do not show: the models or files that these need are those of their own tests.
NEEDS_MORE = {
    "claim": {
        "calls_tool",
        "capability_delta_below",
        "drifts_less",
        "hooks_are_sound",
        "holds_in_contexts",
        "leaves_alone",
        "no_regression",
        "performs_task",
    },
    "axis": {"transcript"},
    "judge": {"chat", "classifier", "local", "order", "python", "rubric"},
    "vector format": {"npy", "npz", "pt", "svec"},
    "data format": {"csv", "json", "jsonl", "parquet"},
}
GIVEN: dict[str, dict[str, Any]] = {
    "date": {"values": ["2027-03-01"]},
    "generalizes": {"contexts": {"filled": Context(filler=2)}},
}  # fmt: skip
KINDS = ("claim", "method", "intervention", "axis", "judge", "vector format", "report format")
OURS = [
    pytest.param(kind, name, marks=() if (kind, name) in QUICK else pytest.mark.nightly)
    for kind in KINDS
    for name in registry.names(kind)
    if name not in NEEDS_MORE.get(kind, ()) and registry.home_of(kind, name).startswith("pytest_steer.")
]


@pytest.mark.parametrize(("kind", "name"), OURS)
def test_ours_keep_to_what_is_asked_of_strangers(kind: str, name: str) -> None:
    assert check_extension(name, kind=kind, given=GIVEN.get(name))


@pytest.fixture
def forgotten() -> Any:
    before = {kind: registry.things(kind) for kind in registry.KINDS}
    yield
    for kind in registry.KINDS:
        for name in registry.things(kind).keys() - before[kind].keys():
            registry.forget(kind, name)


def faults_of(name: str, **more: Any) -> str:
    with pytest.raises(SteerError) as caught:
        check_extension(name, **more)
    return str(caught.value)


@pytest.mark.usefixtures("forgotten")
def test_a_claim_that_contradicts_its_units_and_its_declaration_is_found() -> None:
    @claim("doubled", title="Doubled", main="least")
    class Doubled(AboutItems):
        """The mean effect is at least `least`."""

        least: Annotated[Promise, Param("The least effect.", example=0.1)]
        scale: Annotated[float, Param("What an effect is multiplied by.", above=0, judges=True)] = 1.0

        def measure(self, ask: Ask) -> Measurement:
            curve = ask.propensity(self.sampled_items.units, [0.0, self.multiplier])
            mine = Mean()
            object.__setattr__(mine, "per_unit", lambda values, direction: values + 1)
            return Measurement(
                sample=self.sampled_items,
                values=self.scale * curve.effects(self.multiplier),
                estimator=mine,
                statistic="effect",
                probes=curve.probes,
                how={"scale": self.scale},
            )

    said = faults_of("doubled")
    assert "test_checking: the claim 'doubled' fails 2 of " in said
    assert "- its units average to the estimate: the mean of the 12 units is " in said
    assert "- scale is varied: changes `units.how`, though it says judges=True" in said


@pytest.mark.usefixtures("forgotten")
def test_faults_of_what_steers_and_asks_and_writes_are_found() -> None:
    @method("jitter", takes="items")
    def jitter(model: Model, data: Data, *, layer: int) -> SteeringVector:
        return SteeringVector({layer: torch.randn(model.width)})

    @intervention("shapeless", does="lost")
    def shapeless(vector: SteeringVector, *, by: Annotated[float, Param("How far.", example=1.0)] = 1.0) -> Intervention:
        return custom(lambda hidden, strength, layer: hidden, layers=[2], strength="linear", name="shapeless")

    @intervention("deaf", does="added")
    def deaf(vector: SteeringVector, *, by: Annotated[float, Param("How far.", example=1.0)] = 1.0) -> Intervention:
        return add(vector)

    @axis("mute", ["loud"])
    def mute(item: ContrastItem, value: str) -> ContrastItem:
        return item

    @report_format("first", suffixes=[".first"])
    def first(report: dict[str, Any]) -> str:
        return str(report["claims"][0]["id"])

    assert "two calls with one seed give two results" in faults_of("jitter")
    assert "- its hooks are sound: moves: nothing was steered" in faults_of("shapeless")
    assert "- its hash changes with by: two values of by give one hash" in faults_of("deaf")
    assert "no value changes the prompt or the answers of any item" in faults_of("mute")
    assert "- it writes a report of no claim: the report format 'first' of test_checking failed: IndexError" in faults_of(
        "first"
    )


def test_a_name_that_is_nothing_or_several_things_is_an_error() -> None:
    assert "there is no claim 'nothing'" in faults_of("nothing")
    assert "'json' is the name of a data format and of a report format: add kind=" in faults_of("json").replace(
        "a report format and of a data format", "a data format and of a report format"
    )
    assert "- there is a file to read: name one: check_extension('csv', sample='FILE.csv')" in faults_of(
        "csv", kind="data format"
    )
