"""A promise without a threshold is measured and not judged; one that says where its threshold comes from is judged as any other."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from reports import codes_of, noted

from pytest_steer import Context, SteeringVector, assert_steers, load_model
from pytest_steer.core.errors import SteerError
from pytest_steer.fuzzing.trials import Trials
from pytest_steer.stats import Direction

from .conftest import HEAD, lettered, steering_items

# Kind, its data, its promise, a number that nothing here comes near, what else it takes.
KINDS: dict[str, tuple[str, str, float, dict[str, Any]]] = {
    "steers": ("items", "steerability", -50, {}),
    "not_anti_steered": ("items", "share", 0.999, {}),
    "ppl_delta_below": ("texts", "limit", 90, {}),
    "steers_at_cost": ("items, texts", "effect", -50, {"budget": 0.2, "max_multiplier": 2}),
    "kl_below": ("texts", "limit", 90, {}),
    "beats": ("items", "margin", -50, {"baseline": "random"}),
    "promotes": ("items", "nats", 50, {}),
    "suppresses": ("items", "nats", 50, {}),
    "leaves_alone": ("", "band", 50, {}),
    "holds_in_contexts": ("items", "anti_steerable_share", 0.999, {"max_contexts": 2, "batch": 2}),
    "generalizes": ("items", "retention", 0.001, {"contexts": {"brief": {"system": "Be brief."}}}),
    "performs_task": ("tasks", "accuracy", 0.999, {"data": {"test": "pairs.json"}}),
    "capability_delta_below": ("questions", "limit", 0.999, {"questions": "questions.json"}),
    "flips": ("items", "share", 0.999, {}),
}
FLIPS = '''
from typing import Annotated

from pytest_steer.extend import AboutItems, Ask, Direction, Measurement, Param, Promise, Share, claim


@claim("flips", title="Steering flips answers", main="share")
class Flips(AboutItems):
    """At least the share `share` of the items goes over."""

    share: Annotated[Promise, Param("The least share of items that go over.", example=0.5, above=0, below=1)]

    def measure(self, ask: Ask) -> Measurement:
        sample = self.sampled_items
        curve = ask.propensity(sample.units, [0.0, self.multiplier])
        before, after = curve.values.T
        return Measurement(
            sample=sample,
            values=((before <= 0) & (after > 0)).astype(float),
            estimator=Share(),
            statistic="share of answers that flip",
            direction=Direction.AT_MOST,
            probes=curve.probes,
            curve=curve,
        )
'''


def written(suite: Path, promises: dict[str, Any]) -> str:
    """A claim file with two claims of each kind: one with a number, one with the promise that is given for its name."""
    suite.joinpath("conftest.py").write_text("import flips\n")
    suite.joinpath("flips.py").write_text(FLIPS)
    entries = "contexts: {system: ['', 'Be brief.']}\n" + HEAD
    for kind, (_, key, number, more) in KINDS.items():
        for name, value in ((f"{kind} number", number), (kind, promises[kind])):
            entries += f"  - {kind}: {json.dumps({key: value, 'name': name} | more)}\n"
    (suite / "c.steer.yaml").write_text(entries)
    return "c.steer.yaml"


@pytest.fixture
def moved(suite: Path) -> Path:
    """The folder with items that the vector moves, so that there is something to be retained."""
    (suite / "train.json").write_text(json.dumps(steering_items(8, 0)))
    (suite / "test.json").write_text(json.dumps(steering_items(10, 8)))
    pairs = ("hot cold", "up down", "big small", "wet dry", "old new", "in out", "on off", "high low")
    (suite / "pairs.json").write_text(
        json.dumps([dict(zip(("input", "output"), one.split(), strict=True)) for one in pairs])
    )
    sums = [{"question": f"What is {n} + 1?", "choices": [f"{n + 1}", "a pear"], "answer": 0} for n in range(12)]
    (suite / "questions.json").write_text(json.dumps(sums))
    return suite


def claims_of(suite: Path, pytester: pytest.Pytester, file: str) -> dict[str, dict[str, Any]]:
    result = pytester.runpytest(file, "--steer-report=out.json", "--steer-model=builtin:tiny", "-p", "no:cacheprovider")
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    return {claim["name"]: claim for claim in json.loads((suite / "out.json").read_text())["claims"]}


def test_without_a_threshold_everything_is_measured_and_nothing_is_judged(
    moved: Path, pytester: pytest.Pytester, registered_here_only: None
) -> None:
    found = claims_of(moved, pytester, written(moved, dict.fromkeys(KINDS)))
    assert found.keys() == {name for kind in KINDS for name in (kind, f"{kind} number")}
    for kind, (_, key, number, _) in KINDS.items():
        claim, judged = found[kind], found[f"{kind} number"]
        # The built-in model has no accuracy to lose, and does not read the shipped safety items.
        if kind not in ("capability_delta_below", "leaves_alone"):
            assert judged["verdict"] in ("pass", "fail"), judged["message"]
        assert judged["threshold"] == number
        assert claim["verdict"] == "inconclusive", claim["message"]
        assert claim["threshold"] is None
        assert claim["promise"] == judged["promise"] == key
        for same in ("statistic", "estimate", "interval", "confidence", "n", "unit", "direction", "items", "curve", "units"):
            assert claim.get(same) == judged.get(same), (kind, same)
        assert (claim["p_pass"], claim["p_fail"], claim["items_needed"]) == (None, None, None)
        first, second, *_ = claim["message"].splitlines()
        assert first.startswith(f"{kind}: INCONCLUSIVE  {claim['statistic']} ")
        assert first.endswith(", no threshold yet")
        assert second.startswith(f"  n = {claim['n']} {claim['unit']}, ")
        assert f"  write `{key}: {{value: ..., set: 20" in claim["message"]
        assert not [one for one in codes_of(claim) if one.startswith("threshold")]


def test_an_empty_claim_is_one_without_a_threshold(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(
        HEAD + "  - steers:\n  - not_anti_steered: {share: }\n  - ppl_delta_below: {limit: {value: }}\n"
    )
    result = pytester.runpytest("c.steer.yaml", "--steer-report=out.json", "--steer-model=builtin:tiny")
    assert result.ret == 1
    claims = json.loads((suite / "out.json").read_text())["claims"]
    assert [claim["verdict"] for claim in claims] == 3 * ["inconclusive"]
    assert [claim["promise"] for claim in claims] == ["steerability", "share", "limit"]
    result.stdout.fnmatch_lines("*no threshold yet*")


def pilot_of(suite: Path, pytester: pytest.Pytester, items: list[dict[str, str]], name: str = "pilot.json") -> None:
    """Write the report of a run on these items that promises nothing yet."""
    (suite / "pilot_items.json").write_text(json.dumps(items))
    (suite / "p.steer.yaml").write_text(HEAD.replace("test.json", "pilot_items.json") + "  - steers:\n")
    pytester.runpytest("p.steer.yaml", f"--steer-report={name}", "--steer-model=builtin:tiny", "-p", "no:cacheprovider")
    assert (suite / name).is_file()


def test_a_claim_that_is_judged_on_items_of_its_pilot_says_so(
    moved: Path, pytester: pytest.Pytester, registered_here_only: None
) -> None:
    # Four of the ten test items, in another order and with spaces that change no content, beside four of the training items.
    items = [one | {"question": one["question"] + "  "} for one in steering_items(4, 8)[::-1]] + steering_items(4, 0)
    pilot_of(moved, pytester, items)
    digest = hashlib.sha256((moved / "pilot.json").read_bytes()).hexdigest()
    today = datetime.date.today()
    judged_on_items = [kind for kind, (data, *_) in KINDS.items() if data == "items"]
    promises = {
        kind: {"value": number, "set": today.isoformat(), "from": "pilot.json"} for kind, (_, _, number, _) in KINDS.items()
    }
    found = claims_of(moved, pytester, written(moved, promises))
    for kind, (_, key, number, _) in KINDS.items():
        claim, bare = found[kind], found[f"{kind} number"]
        for same in ("verdict", "threshold", "promise", "estimate", "interval", "p_pass", "p_fail", "items_needed"):
            assert claim[same] == bare[same], (kind, same)
        assert claim["promise"] == key
        assert claim["threshold"] == number
        assert bare["threshold_set"] is None
        record = claim["threshold_set"]
        assert record["date"] == record["measured"] == today.isoformat()
        assert record["file"] == "pilot.json"
        assert record["sha256"] == digest
        said = noted(claim, "threshold-set-on-these-data")
        if kind in (*judged_on_items, "steers_at_cost"):
            assert (record["seen"], record["of"], record["before_data"]) == (4, 10, False), (kind, record)
            assert len(said) == 1
            assert "4 of these 10 items (pilot.json)" in said[0]
        else:  # on texts, or on the items that ship
            assert record["seen"] == 0
            assert record["of"] >= 8
            assert record["before_data"] is True
            assert said == []


WHEN = {
    "all of them": ("test.json", "2999-01-01", ["threshold-set-on-these-data", "threshold-day"]),
    "none of them": ("train.json", "today", []),
    "not yet": ("train.json", "2999-01-01", ["threshold-day"]),
    "before the pilot": ("train.json", "2020-01-01", ["threshold-day"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WHEN)
def test_what_is_known_of_a_threshold(suite: Path, pytester: pytest.Pytester, case: str) -> None:
    data, day, codes = WHEN[case]
    pilot_of(suite, pytester, json.loads((suite / data).read_text()))
    day = datetime.date.today().isoformat() if day == "today" else day
    (suite / "c.steer.yaml").write_text(
        HEAD + f"  - steers: {{steerability: {{value: -50, set: {day}, from: pilot.json}}}}\n"
        f"  - steers: {{name: by-file, steerability: {{value: -50, from: {data}}}}}\n"
        f"  - steers: {{name: by-day, steerability: {{value: -50, set: {day}}}}}\n"
    )
    claims = claims_of(suite, pytester, "c.steer.yaml")
    claim, by_file, by_day = (claims[name] for name in ("steers", "by-file", "by-day"))
    assert [one for one in codes_of(claim) if one.startswith("threshold")] == codes
    seen = 10 if data == "test.json" else 0
    assert (claim["threshold_set"]["seen"], claim["threshold_set"]["of"]) == (seen, 10)
    assert claim["threshold_set"]["before_data"] is (not codes)
    assert (by_file["threshold_set"]["seen"], by_file["threshold_set"]["measured"]) == (seen, None)
    assert by_day["threshold_set"] | {"date": None} == dict.fromkeys(by_day["threshold_set"])
    known = "all of the 10 judged here are in it" if seen else "none of the 10 judged here is in it"
    line = next(line for line in claim["message"].splitlines() if line.startswith("  threshold set on"))
    assert line.startswith(f"  threshold set on {day} from pilot.json of {datetime.date.today()} (sha256 ")
    assert line.endswith(known)


def test_a_pilot_that_cannot_be_read_is_an_error_at_its_line(suite: Path, pytester: pytest.Pytester) -> None:
    pilot_of(suite, pytester, lettered(8))
    whole = (suite / "pilot.json").read_text()
    (suite / "cut.json").write_text(whole[: len(whole) // 2])
    (suite / "newer.json").write_text(whole.replace("pytest-steer/report/2", "pytest-steer/report/3"))
    (suite / "empty.json").write_text(json.dumps(json.loads(whole) | {"claims": []}))
    (suite / "other.json").write_text('{"a": 1}')
    names = ("cut", "newer", "empty", "other")
    lines = [f"  - steers: {{name: {one}, steerability: {{value: 1, from: {one}.json}}}}\n" for one in names]
    (suite / "c.steer.yaml").write_text(HEAD + "".join(lines))
    claims = claims_of(suite, pytester, "c.steer.yaml")
    wrong = {
        "cut": "cut.json is damaged: it begins as a report and is not whole JSON",
        "newer": "newer.json is a report of another schema: 'pytest-steer/report/3'",
        "empty": "empty.json holds no claim that was measured",
        "other": "other.json is neither a report of pytest-steer nor data that can be read",
    }
    for index, name in enumerate(names):
        assert claims[name]["verdict"] == "error"
        place = f"c.steer.yaml:{HEAD.count(chr(10)) + 1 + index}: claims[{index}].steers.steerability.from: "
        assert claims[name]["error"].startswith(place + wrong[name]), claims[name]["error"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"value": 0.3, "sett": "2026-11-01"}, "steers: steerability: unknown key 'sett': did you mean 'set'?"),
        ({"set": "2026-11-01"}, "'value' is missing"),
        ({"value": 0.3, "set": "2026-11-31"}, "'set' is a day such as '2026-11-01', not '2026-11-31'"),
        ({"value": 0.3, "from": "pilot.json"}, "pilot.json cannot be read: No such file or directory"),
        ({"value": "high"}, "must be a number, but is the text 'high'"),
    ],
)
def test_a_mapping_that_is_wrong_in_python(
    given: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = load_model("builtin:tiny")
    vector = SteeringVector({1: torch.ones(model.width)})
    with pytest.raises(SteerError) as raised:
        assert_steers(model, vector, [(f"Is {n} even?", "Yes", "No") for n in range(10)], steerability=given)
    assert says in str(raised.value)


def test_a_kind_that_counts_with_a_threshold_that_is_not_there_is_an_error(
    suite: Path, pytester: pytest.Pytester, registered_here_only: None
) -> None:
    (suite / "conftest.py").write_text("import flips\n")
    (suite / "flips.py").write_text(FLIPS.replace("before <= 0", "before <= 1 - self.threshold"))
    (suite / "c.steer.yaml").write_text(HEAD + "  - flips:\n")
    claim = claims_of(suite, pytester, "c.steer.yaml")["flips"]
    assert claim["verdict"] == "error"
    assert "Flips counts with 'share', which is None as long as it has no threshold" in claim["error"]


def test_a_search_without_a_threshold_finds_the_worst_and_breaks_nothing() -> None:
    contexts = [Context(system=text) for text in ("", "Be brief.", "Be long.")]
    least = Trials(lambda some: [float(len(str(one))) for one in some], None, Direction.AT_LEAST)
    most = Trials(lambda some: [float(len(str(one))) for one in some], None, Direction.AT_MOST)
    for trials in (least, most):
        trials.estimates(contexts, "listed")
        assert not any(trials.breaks(one.estimate) for one in trials.rows)
    estimates = [one.estimate for one in least.rows]
    assert (least.worst.estimate, most.worst.estimate) == (min(estimates), max(estimates))


def test_texts_of_a_pilot_are_known_too(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "c.steer.yaml").write_text(HEAD + "  - ppl_delta_below:\n")
    pytester.runpytest("c.steer.yaml", "--steer-report=pilot.json", "--steer-model=builtin:tiny", "-p", "no:cacheprovider")
    (suite / "c.steer.yaml").write_text(HEAD + "  - ppl_delta_below: {limit: {value: 90, from: pilot.json}}\n")
    claim = claims_of(suite, pytester, "c.steer.yaml")["ppl_delta_below"]
    assert (claim["verdict"], claim["threshold_set"]["seen"], claim["threshold_set"]["of"]) == ("pass", 12, 12)
    assert "threshold-set-on-these-data" in codes_of(claim)
