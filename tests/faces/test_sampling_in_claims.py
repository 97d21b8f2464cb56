"""Floors, clusters and low confidence in claim files: through pytest to the table and the report."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from reports import noted

from pytest_steer.report import report_schema
from pytest_steer.stats import share_of_clusters

from .conftest import lettered

CLAIMS = """\
min_n: 20
vector: {extract: {method: caa, data: train.json}, layer: 1}
multipliers: [-1, 0, 1]
data: {test: test.json, neutral: neutral.txt, cluster: about}
claims:
  - steers: {name: few, steerability: -50}
  - steers: {name: enough, steerability: -50, min_n: 5}
  - steers: {name: alone, steerability: -50, min_n: 5, data: {test: other.json, cluster: number}}
  - steers: {name: unsure, steerability: -50, min_n: 5, confidence: 0.51}
  - steers: {name: rounds, steerability: -50, min_n: 5, sequential: true}
  - not_anti_steered: {name: misspelt, share: 0.99, data: {cluster: abuot}}
  - performs_task: {accuracy: 0.5, data: {test: pairs.json}}
  - ppl_delta_below: {limit: 1000000}
"""


@pytest.fixture
def clustered(suite: Path) -> Path:
    items = [{**item, "about": index // 2, "number": index} for index, item in enumerate(lettered(20, start=8))]
    (suite / "test.json").write_text(json.dumps(items))
    (suite / "other.json").write_text(json.dumps(items))
    (suite / "pairs.json").write_text(json.dumps([{"input": f"x{n}", "output": "up"} for n in range(9)]))
    return suite


def test_what_a_file_says_of_its_data(clustered: Path, pytester: pytest.Pytester) -> None:
    (clustered / "c.steer.yaml").write_text(CLAIMS)
    result = pytester.runpytest("--steer-report=out.json")
    report = json.loads((clustered / "out.json").read_text())
    jsonschema.validate(report, report_schema())
    found = {claim["name"]: claim for claim in report["claims"]}
    assert {name: (claim["verdict"], claim["n"], claim["unit"], claim["min_n"]) for name, claim in found.items()} == {
        "few": ("inconclusive", 10, "clusters", 20),
        "enough": ("pass", 10, "clusters", 5),
        "alone": ("pass", 20, "items", 5),
        "unsure": ("pass", 10, "clusters", 5),
        "rounds": ("error", 0, "items", None),
        "misspelt": ("error", 0, "items", None),
        "performs_task": ("error", 0, "items", None),
        "ppl_delta_below": ("inconclusive", 12, "texts", 20),
    }
    assert found["enough"]["estimate"] == pytest.approx(found["alone"]["estimate"], abs=1e-6)
    assert found["enough"]["interval"] != found["alone"]["interval"]
    assert found["unsure"]["confidence"] == 0.51
    result.stdout.fnmatch_lines(
        [
            "*c.steer.yaml:11: *data.cluster: test.json: none of its 20 items has the key 'abuot' that cluster names: did you mean 'about'*",
            "*data.cluster: pairs.json: none of its 9 items has the key 'about'*there are none*",
            "  pass * unsure (steers)*",
            "  * at 51 % confidence",
            "warning: c: few: n = 10 is below min_n 20: so few clusters*",
        ]
    )


def test_a_behaviour_of_a_matrix_names_its_clusters_and_dev_draws_no_clusters(
    clustered: Path, pytester: pytest.Pytester
) -> None:
    (clustered / "c.steer.yaml").write_text(
        "multipliers: [-1, 0, 1]\nmatrix:\n  method: {caa: {layer: 1}}\n  behaviour:\n"
        "    one: {train: train.json, test: test.json, cluster: about}\n    two: {train: train.json, test: other.json}\n"
        "claims:\n  - steers: {steerability: -50}\n"
    )
    pytester.runpytest("--steer-report=out.json", "--steer-profile=dev")
    claims = json.loads((clustered / "out.json").read_text())["claims"]
    assert [(claim["n"], claim["interval_method"]) for claim in claims] == [(10, "clustered t"), (8, "sequential t")]


def test_a_limit_on_items_counts_distinct_ones(suite: Path, pytester: pytest.Pytester) -> None:
    items = [item for item in lettered(30, start=8) for _ in range(2)]
    (suite / "test.json").write_text(json.dumps(items))
    (suite / "pairs.json").write_text(json.dumps([{"input": f"x{n // 2}", "output": "up"} for n in range(60)]))
    (suite / "twice.txt").write_text("\n".join(f"{'we say ' * (n // 2)}that is it" for n in range(60)))
    (suite / "c.steer.yaml").write_text(
        "multipliers: [-1, 0, 1]\nvector: {extract: {method: caa, data: train.json}, layer: 1}\n"
        "data: {test: test.json, neutral: twice.txt}\nclaims:\n  - steers: {steerability: -50, sequential: false}\n"
        "  - ppl_delta_below: 1000000\n  - performs_task: {accuracy: 0.5, data: {test: pairs.json}}\n"
    )
    pytester.runpytest("--steer-report=out.json", "--steer-profile=dev")
    claims = json.loads((suite / "out.json").read_text())["claims"]
    assert [claim["data"]["n"] for claim in claims] == [20, 20, 20]
    assert all(any("20 are distinct" in text for text in noted(claim, "repeated-units")) for claim in claims)


def test_pairs_of_a_task_have_clusters(suite: Path, pytester: pytest.Pytester) -> None:
    pairs = [{"input": f"x{n}", "output": "up", "about": n // 3} for n in range(12)] + [
        {"input": "x0", "output": "down", "about": 0}
    ]
    (suite / "pairs.json").write_text(json.dumps(pairs))
    (suite / "c.steer.yaml").write_text(
        "vector: {extract: {method: caa, data: train.json}, layer: 1}\ndata: {test: pairs.json}\nclaims:\n"
        "  - performs_task: {name: named, accuracy: 0.5, data: {cluster: about}}\n"
        "  - performs_task: {name: alone, accuracy: 0.5}\n"
    )
    pytester.runpytest("--steer-report=out.json")
    claims = json.loads((suite / "out.json").read_text())["claims"]
    assert [(one["n"], one["unit"], one["details"]["clusters"]["items"]) for one in claims] == [
        (4, "clusters", 13),
        (12, "clusters", 13),
    ]
    wrong = share_of_clusters(
        [task["right_steered"] for task in claims[0]["details"]["tasks"]], [n // 3 for n in range(12)] + [0]
    )
    assert claims[0]["interval"] == pytest.approx([wrong.low, wrong.high])
