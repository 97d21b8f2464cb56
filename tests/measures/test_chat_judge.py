"""The judge ``chat`` against servers on the loopback: nothing is scored that was not said, nothing is lost, and the run ends in time."""

from __future__ import annotations

import itertools
import json
import time

import judge_server as servers
import pytest

from pytest_steer.core.errors import MeasurementError, SteerError
from pytest_steer.measures.judges import Chat, Exchange, Judgement, judged, make_judge
from pytest_steer.measures.judges.judged import blind_order

pytest.importorskip("httpx", reason="the extra `judges` is not installed")
pytest.importorskip("tenacity", reason="the extra `judges` is not installed")

FAST = {"timeout": 0.2, "retries": 1, "backoff": 0.01}


def chat(server, **settings) -> Chat:
    given = {"model": "judge-1", "rubric": "How friendly is the reply?", "scale": [1, 10], "at_least": 6, **FAST}
    return Chat(base_url=server.url, **{**given, **settings})


def pairs(n: int) -> list[Exchange]:
    return [Exchange((f"question {at}",), f"{side} {at}", id=f"{at}") for at in range(n) for side in ("base", "steered")]


def by_side(asked: str) -> str:
    return "8" if "steered" in asked else "It is rude.\n\nScore: 2"


def test_each_reply_has_the_score_that_the_model_gave_it():
    with servers.serving(servers.says(by_side)) as server:
        found = judged(chat(server), pairs(8), seed=0)
    assert found[0] == Judgement(False, score=2.0, said="It is rude.\n\nScore: 2")
    assert found[1] == Judgement(True, score=8.0, said="8")
    assert found == found[:2] * 8


def test_one_request_holds_one_reply_and_nothing_of_its_side():
    with servers.serving(servers.says("7")) as server:
        judged(chat(server, request={"temperature": 0.5, "seed": 1}), pairs(4), seed=0)
    assert len(server.requests) == 8
    replies = []
    for body in server.requests:
        assert body.keys() == {"model", "messages", "temperature", "seed"}
        assert (body["model"], body["temperature"], body["seed"]) == ("judge-1", 0.5, 1)
        (message,) = body["messages"]
        replies += [one.reply for one in pairs(4) if f"\n{one.reply}\n" in message["content"]]
        assert message["content"].startswith("How friendly is the reply?")
    assert sorted(replies) == sorted(one.reply for one in pairs(4))
    assert {path for path, _ in server.seen} == {"/v1/chat/completions"}


@pytest.mark.parametrize("at_once", [1, 4])
def test_no_more_requests_at_once_than_said(at_once):
    with servers.serving(servers.slow(0.02)) as server:
        started = time.monotonic()
        judged(chat(server, at_once=at_once), pairs(6), seed=0)
        took = time.monotonic() - started
    assert server.most_open == at_once
    assert took >= 12 * 0.02 / at_once


BAD = {
    "500": (servers.fails, "HTTP 500 Internal Server Error: out of memory"),
    "nonsense": (servers.says("What a lovely reply!"), "gave no number in its last line"),
    "off the scale": (servers.says("11"), "gave a number that is not on the scale from 1 to 10"),
    "half sent": (servers.sends_half, "the connection was closed before the answer was whole"),
    "half said": (servers.says_half, "the answer is no JSON"),
    "cut off": (servers.cut_off, "the answer was cut at its greatest length"),
    "hangs": (servers.hangs, "no whole answer within 0.2 s"),
    "drips": (servers.drips, "no whole answer within 0.2 s"),
    "no choices": (lambda handler, *_: handler.send(b'{"choices": []}'), "the answer has no choices[0].message.content"),
    "refuses": (
        lambda handler, *_: handler.send(servers.completion(None, "content_filter")),
        "choices[0].message.content of the answer is no text (finish_reason 'content_filter')",
    ),
    "endless": (lambda handler, *_: handler.send(b" " * (2**20 + 1)), "the answer is longer than a MiB"),
    "moved": (lambda handler, *_: handler.send(b"", 302, Location="/v2"), "HTTP 302 Found"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_answer_is_asked_for_again_then_missing_and_many_are_an_error(bad):
    behaviour, why = BAD[bad]
    with servers.serving(behaviour) as server:
        started = time.monotonic()
        with pytest.raises(MeasurementError) as caught:
            judged(chat(server), pairs(5), seed=0)
        took = time.monotonic() - started
    assert "the judge 'chat' gave no judgement for 1 of the 1 replies that it was given (of 10), and at most 5 %" in str(
        caught.value
    )
    assert str(caught.value).endswith(f"1 x {why}")
    assert took < 2.0
    again = bad not in ("endless", "moved")
    assert len(server.requests) >= 2 or not again
    texts = [body["messages"][0]["content"] for body in server.requests]
    assert (len(set(texts)) < len(texts)) == again  # the same reply


@pytest.mark.parametrize("bad", ["endless", "moved"])
def test_when_too_many_are_missing_the_judge_is_asked_no_further(bad):
    """Six of a hundred are too many. By then at most sixteen more have begun."""
    with (
        servers.serving(BAD[bad][0]) as server,
        pytest.raises(MeasurementError, match=r"for 6 of the .* it was given \(of 100\)"),
    ):
        judged(chat(server), pairs(50), seed=0)
    assert 6 <= len(server.requests) <= 6 + 16


@pytest.mark.parametrize("bad", ["500", "half sent", "hangs"])
def test_one_bad_answer_is_made_good_by_asking_again(bad):
    behaviour, _ = BAD[bad]

    def once(handler, number, body):
        (behaviour if number == 2 else servers.says(by_side))(handler, number, body)

    with servers.serving(once) as server:
        found = judged(chat(server), pairs(6), seed=0)
    assert [one.accepted for one in found] == [False, True] * 6
    assert len(server.requests) == 13


def test_a_reply_that_is_never_judged_is_missing_and_the_others_are_not_lost():
    def but_one(handler, number, body):
        reply = body["messages"][0]["content"]
        (servers.fails if "steered 3\n" in reply else servers.says(by_side))(handler, number, body)

    with servers.serving(but_one) as server:
        found = judged(chat(server), pairs(10), seed=0)
    assert [at for at, one in enumerate(found) if one.accepted is None] == [7]
    assert found[7] == Judgement(None, missing="HTTP 500 Internal Server Error: out of memory")
    assert [one.accepted for at, one in enumerate(found) if at != 7] == [False, True] * 3 + [False] + [False, True] * 6
    assert len(server.requests) == 20 + 1


def test_no_server_is_an_error_that_names_it():
    with servers.serving(servers.says("7")) as server:
        judge = chat(server)
    with pytest.raises(
        MeasurementError, match=r"1 x no connection to http://127.0.0.1:\d+/v1/chat/completions \(is the server running\?\)$"
    ):
        judged(judge, pairs(5), seed=0)


def test_requests_that_are_still_open_are_broken_off():
    """Others than the failing one may hang for as long as they like."""
    given = pairs(2)
    first = given[blind_order([one.id for one in given], 0)[0]].reply

    def first_fails(handler, number, body):
        (servers.fails if f"{first}\n" in body["messages"][0]["content"] else servers.hangs)(handler, number, body)

    with servers.serving(first_fails) as server:
        started = time.monotonic()
        with pytest.raises(MeasurementError, match="HTTP 500"):
            judged(chat(server, timeout=20, retries=0), given, seed=0)
        assert time.monotonic() - started < 1


def test_all_requests_end_by_the_deadline():
    with servers.serving(servers.hangs) as server:
        started = time.monotonic()
        with pytest.raises(MeasurementError, match=r"the 0.3 s for all requests are over \(last answer: none was made\)"):
            judged(chat(server, timeout=20, retries=20, deadline=0.3), pairs(2), seed=0)
        assert time.monotonic() - started < 1.5


def test_the_server_says_how_long_to_wait():
    times = []

    def busy(handler, number, body):
        times.append(time.monotonic())
        if number == 0:
            handler.send(b"", 429, Retry_After="1")
        else:
            handler.send(servers.completion("7"))

    with servers.serving(busy) as server:
        judged(chat(server), pairs(1)[:1], seed=0)
    assert times[1] - times[0] >= 0.99


def test_waits_double():
    times = []

    def fails(handler, number, body):
        times.append(time.monotonic())
        servers.fails(handler, number, body)

    with servers.serving(fails) as server, pytest.raises(MeasurementError):
        judged(chat(server, retries=3, backoff=0.05), pairs(1)[:1], seed=0)
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [wait >= least for wait, least in zip(waits, (0.05, 0.1, 0.2), strict=True)] == [True] * 3
    assert sum(waits) < 1.5


# --- the key ------------------------------------------------------------------------------------------------

KEY = "sk-very-secret-0815"


def test_the_key_is_sent_and_stands_nowhere(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)

    def refuses(handler, number, body):
        said = f"Incorrect API key provided: {handler.headers['Authorization']}"
        handler.send(json.dumps({"error": {"message": said}}).encode(), 401)

    with servers.serving(refuses) as server:
        judge = chat(server, api_key_env="JUDGE_KEY")
        with pytest.raises(MeasurementError) as caught:
            judged(judge, pairs(2), seed=0)
    assert {headers["Authorization"] for _, headers in server.seen} == {f"Bearer {KEY}"}
    assert "HTTP 401 Unauthorized: Incorrect API key provided: Bearer ***" in str(caught.value)
    assert KEY not in str(caught.value) + repr(judge) + json.dumps(judge.record())
    texts = [body["messages"][0]["content"] for body in server.requests]
    assert len(set(texts)) == len(texts)  # another key is not tried, so it is not asked again


def test_a_key_that_is_not_there_is_named_and_not_shown(monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    settings = {"base_url": "http://localhost/v1", "model": "m", "rubric": "r", "scale": [1, 5], "at_least": 3}
    with pytest.raises(SteerError, match="api_key_env: the environment variable JUDGE_KEY is not set"):
        Chat(**settings, api_key_env="JUDGE_KEY")
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(SteerError, match="JUDGE_KEY holds characters that a key cannot have") as caught:
        Chat(**settings, api_key_env="JUDGE_KEY")
    assert KEY not in str(caught.value)


# --- settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale": None}, "the judge 'chat': 'scale' is missing. Add `scale: [1, 10]`. The lowest and the highest score."),
        ({"scale": [1]}, "scale needs at least 2 entries, but has 1"),
        ({"scale": [10, 1]}, "scale goes from the lowest to the highest score, `[1, 10]`, not [10, 1]"),
        ({"at_least": 11}, "at_least is a score above 1 and at most 10 (of scale), not 11"),
        (
            {"base_url": "localhost:8000"},
            "base_url begins with http:// or https:// and a server's name, not 'localhost:8000'",
        ),
        *(
            ({"base_url": url}, "and a server's name, not")
            for url in (
                "http://[::1",
                "http://local host/v1",
            )
        ),
        ({"base_url": "http://me:secret@host/v1"}, "base_url is a place alone, since it stands in reports"),
        ({"request": {"model": "other"}}, "request has 'model', which the judge sets itself"),
        ({"timeout": 0}, "timeout must be greater than 0"),
        ({"rubrik": "?"}, "has no parameter 'rubrik': did you mean 'rubric'?"),
    ],
)
def test_wrong_settings_are_named(changed, message):
    settings = {"base_url": "http://localhost/v1", "model": "m", "rubric": "r", "scale": [1, 10], "at_least": 6}
    given = {name: value for name, value in {**settings, **changed}.items() if value is not None}
    with pytest.raises(SteerError) as caught:
        make_judge({"chat": given})
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SteerError, match=r"needs httpx and tenacity. Install: pip install 'pytest-steer\[judges\]'"):
        Chat(base_url="http://localhost/v1", model="m", rubric="r", scale=[1, 10], at_least=6)
