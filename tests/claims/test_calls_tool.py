"""``calls_tool``: against models whose replies are forced, with every way in which a reply is no call as promised."""

from __future__ import annotations

import copy
import json
from functools import cache

import builders
import jsonschema
import pytest
from evidence import evidence_of, shown
from replying import MOVED, SILENT, STAYS
from scipy import stats

from pytest_steer import Dialogue, SteerError, assert_calls_tool, wrap_model
from pytest_steer.claims.running import evidence_of as run
from pytest_steer.core.block import Intervals
from pytest_steer.files import read_suite
from pytest_steer.files.build import Builder
from pytest_steer.report import report_schema

SEARCH = {
    "name": "search",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}
FETCH = {"name": "fetch", "parameters": {"type": "object", "properties": {}}}
ROME = '{"name":"search","arguments":{"query":"Rome"}}'
# The reply begins with the user's last word alone, so nothing stands between the two, and the tools stand first.
TEMPLATE = "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}{% for message in messages %}{{ message.content }} {% endfor %}"


@cache
def calling(token, template=TEMPLATE, end=3.0):
    """Steered, it answers "moved" words with the token and "stays" words with "up"; unsteered all with "up". "silent" words: nothing.

    Steering adds 3 to the token and so much to the end: with 0 the token is repeated for ever.
    """
    a = {**dict.fromkeys(MOVED, 1.0), **dict.fromkeys(STAYS, 2.0), **dict.fromkeys(SILENT, -1.0), "up": -1.0, token: -1.0}
    words = (*MOVED, *STAYS, *SILENT, "up", token)
    linear = builders.Linear(words, a, {"up": 2.0, "<unk>": -1.0}, {token: 3.0, "<unk>": end})
    tokenizer = copy.deepcopy(linear.tokenizer)
    tokenizer.chat_template = template
    return wrap_model(linear.model.hf, tokenizer, "calling"), linear.vector()


def prompts(*words, tools=(SEARCH, FETCH)):
    return [Dialogue((word,), tools=tools) for word in words]


def found(asked, token=ROME, share=0.5, tool="search", template=TEMPLATE, end=3.0, **more):
    model, vector = calling(token, template, end)
    settings = {"max_new_tokens": 4, "include_first": True, "parser": "json"} | more
    return evidence_of(assert_calls_tool, model, vector, asked, share=share, tool=tool, **settings)


@pytest.mark.parametrize(("moved", "verdict"), [(18, "pass"), (2, "fail"), (11, "inconclusive")])
def test_the_share_of_replies_that_call_the_tool(moved, verdict):
    evidence = found(prompts(*MOVED[:moved], *STAYS[: 20 - moved]))
    assert (evidence.verdict.value, evidence.estimate, evidence.n) == (verdict, moved / 20, 20)
    low = stats.binomtest(moved, 20, alternative="greater").proportion_ci(0.95).low
    high = stats.binomtest(moved, 20, alternative="less").proportion_ci(0.95).high
    assert evidence.interval == pytest.approx((low, high))
    assert evidence.details["outcomes"]["steered"] == {
        "calls the tool": moved,
        "other arguments than promised": 0,
        "a malformed call": 0,
        "a call of another tool": 0,
        "no call": 20 - moved,
        "undetermined": 0,
    }
    assert evidence.details["outcomes"]["base"]["no call"] == 20


@pytest.mark.parametrize(
    ("token", "outcome", "why"),
    [
        ('{"name":"fetch","arguments":{}}', "a call of another tool", "a call of another tool: fetch"),
        ('{"name":"search","arguments":{}}', "a malformed call", "a malformed call: 'query' is a required property"),
        ('{"name":"search","arguments":{"query":3}}', "a malformed call", "a malformed call: query: 3 is not of type 'string'"),
        ('{"name":"search","arguments"', "a malformed call", "a malformed call: is not valid JSON"),
        ('{"name":"search","arguments":{"query":"Paris"}}', "other arguments than promised", "other arguments than promised: search("),
        ("down", "no call", "no call"),
        (f"[{ROME},3]", "calls the tool", None),
    ],
)  # fmt: skip
def test_every_way_in_which_a_reply_is_no_call_as_promised(token, outcome, why):
    evidence = found(prompts(*MOVED[:10]), token, arguments={"query": "Rome"})
    assert evidence.details["outcomes"]["steered"][outcome] == 10
    assert sum(evidence.details["outcomes"]["steered"].values()) == 10
    for one in evidence.replies.of:
        assert (one.steered.why or "").startswith(why or "")
        assert one.steered.turns == (token,)
    assert f"steered: 10 {outcome}" in evidence.message


def test_an_undetermined_reply_counts_against_a_pass_and_for_a_fail():
    evidence = found(prompts(*MOVED[:10], *STAYS[:6], *SILENT[:4]))
    assert evidence.details["outcomes"]["steered"]["undetermined"] == 4
    low = stats.binomtest(10, 20, alternative="greater").proportion_ci(0.95).low
    high = stats.binomtest(14, 20, alternative="less").proportion_ci(0.95).high
    assert evidence.interval == pytest.approx((low, high))


def test_a_call_that_is_cut_is_undetermined():
    evidence = found(prompts(*MOVED[:10]), '{"name":"search","arguments"', max_new_tokens=1)
    assert evidence.details["outcomes"]["steered"]["undetermined"] == 10
    assert {one.steered.why for one in evidence.replies.of} == {"cut inside a call: raise max_new_tokens"}


def test_a_call_that_is_repeated_up_to_the_limit_is_a_loop_and_no_call():
    evidence = found(prompts(*MOVED[:10]), f"<tool_call>{ROME}</tool_call>", end=0.0, parser="hermes")
    assert evidence.details["outcomes"]["steered"]["undetermined"] == 10
    assert {one.steered.why.partition(":")[0] for one in evidence.replies.of} == {"loops"}


def test_calls_are_read_with_the_tokenizers_own_parsing_where_it_has_one():
    model, vector = calling(f"<call>{ROME}</call>")
    tokenizer = copy.deepcopy(model.tokenizer)
    call = {"open": "<call>", "close": "</call>", "content": "json", "repeats": True}
    tokenizer.response_template = {
        "defaults": {"role": "assistant"}, "start_anchor": "fetch", "fields": {"content": {"close": "<unk>"}, "tool_calls": call}
    }  # fmt: skip
    own = wrap_model(model.hf, tokenizer, "own parsing")
    settings = {"share": 0.5, "tool": "search", "max_new_tokens": 4, "include_first": True}
    evidence = evidence_of(assert_calls_tool, own, vector, prompts(*MOVED[:12], *STAYS[:2]), **settings)
    assert evidence.details["outcomes"]["steered"]["calls the tool"] == 12
    assert evidence.details["outcomes"]["steered"]["no call"] == 2
    # A reply that is a call and nothing else says something: they are not all empty.
    assert evidence_of(assert_calls_tool, own, vector, prompts(*MOVED[:12]), **settings).estimate == 1
    with pytest.raises(SteerError, match=r"has no response_template.*add `parser:`, one of json, hermes"):
        evidence_of(assert_calls_tool, model, vector, prompts(*MOVED[:12]), **settings)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"asked": [Dialogue((word,)) for word in MOVED[:8]]}, "prompt 0: has no tools"),
        ({"tool": "serch"}, "prompt 0: has no tool 'serch': did you mean 'search'? There are search, fetch"),
        (
            {"tool": None, "name": "serch"},
            "no tool 'serch', which is the claim's name: add `tool: search`: did you mean 'search'?",
        ),
        ({"tool": None}, 'nothing names the tool: write name="search", which names the claim too, or tool="search"'),
        ({"parser": "jsn"}, "jsn"),
        ({"template": "{% for m in messages %}{{ m.content }} {% endfor %}"}, "drops the tools: the name of 'search'"),
        ({"share": 1.5}, "share"),
        ({"direction": "lowers"}, "direction"),
    ],
)
def test_what_cannot_be_measured_is_an_error(more, message):
    more = {"asked": prompts(*MOVED[:8])} | more
    with pytest.raises((SteerError, TypeError)) as error:
        found(more.pop("asked"), **more)
    assert message.casefold() in str(error.value).casefold()


@pytest.mark.parametrize(
    ("more", "name"),
    [({"tool": None, "name": "search"}, "search"), ({"name": "looks-it-up"}, "looks-it-up"), ({}, "calls_tool")],
)
def test_the_name_of_the_claim_is_the_tool_where_none_is_given(more, name):
    evidence = found(prompts(*MOVED[:8]), **more)
    assert (evidence.name, evidence.statistic, evidence.estimate) == (name, "share of replies that call 'search'", 1.0)


def test_a_reply_to_a_tools_result_is_read_and_shown_with_it():
    def after(word):
        call = {"role": "assistant", "tool_calls": [{"name": "fetch", "arguments": {}}]}
        return Dialogue(
            messages=({"role": "user", "content": "up"}, call, {"role": "tool", "content": word}), tools=(SEARCH, FETCH)
        )

    template = TEMPLATE.replace(
        "{{ message.content }} ",
        "{% for call in message.tool_calls or [] %}{{ call.function.name }} {% endfor %}{{ message.content }} ",
    )
    evidence = found([after(word) for word in (*MOVED[:6], *STAYS[:2])], template=template)
    assert (evidence.estimate, evidence.n) == (0.75, 8)
    assert evidence.replies.of[0].prompt == (f"up\n\n[fetch] {STAYS[0]}",)


def test_the_record_is_that_of_the_schema():
    evidence = found(prompts(*MOVED[:10], *STAYS[:10]))
    record = evidence.to_dict()
    jsonschema.Draft202012Validator({"$ref": "#/$defs/ClaimRecord", "$defs": report_schema()["$defs"]}).validate(record)
    assert [(row.name, row.estimate) for row in shown(evidence, Intervals).rows] == [("base", 0.0), ("steered", 0.5)]
    assert record["units"]["kind"] == "share"
    assert record["replies"]["of"][0]["steered"]["outcome"] == "rejected"


def test_a_claim_file_names_the_tool(tmp_path):
    model, vector = calling(ROME)
    vector.save(tmp_path / "v.safetensors")
    lines = [json.dumps({"prompt": word, "tools": [SEARCH]}) for word in MOVED[:20]]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "a.steer.yaml").write_text(
        "vector: {file: v.safetensors, positions: all, include_first: true}\ndata: {prompts: prompts.jsonl}\nclaims:\n"
        "  - calls_tool: {share: 0.8, tool: search, arguments: {query: Rome}, parser: json, max_new_tokens: 4}\n"
        "  - calls_tool: {name: search, share: 0.9, parser: json}\n"
        "  - calls_tool: {name: misspelt, share: 0.8, tool: search, parser: hermez}\n"
        "  - calls_tool: {name: by-regex, share: 0.8, tool: search, parser: regex, pattern: '('}\n",
        encoding="utf-8",
    )
    suite = read_suite(tmp_path / "a.steer.yaml")
    evidence = run(Builder(model).build(suite, suite.entries[0]), model)
    assert (evidence.verdict.value, evidence.estimate) == ("pass", 1.0)
    assert [entry.line for entry in suite.entries] == [4, 5, 6, 7]
    assert (suite.entries[1].name, suite.entries[1].params["tool"]) == ("search", "search")
    assert "hermes" in str(suite.entries[2].error)
    assert "is not a regular expression" in str(suite.entries[3].error)


def test_under_a_matrix_the_tool_is_the_name_as_it_is_written(tmp_path):
    (tmp_path / "prompts.txt").write_text("up\ndown\n", encoding="utf-8")
    (tmp_path / "train.json").write_text("[]", encoding="utf-8")
    (tmp_path / "a.steer.yaml").write_text(
        "vector: {extract: {method: caa, data: train.json}, layer: 1}\nmatrix: {layer: [1, 2]}\ndata: {prompts: prompts.txt}\n"
        "claims:\n  - calls_tool: {share: 0.9, name: search, parser: json}\n",
        encoding="utf-8",
    )
    found = [(one.name, one.params["tool"]) for one in read_suite(tmp_path / "a.steer.yaml").entries]
    assert found == [("search[1]", "search"), ("search[2]", "search")]
