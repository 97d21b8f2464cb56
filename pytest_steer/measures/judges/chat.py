"""The judge ``chat``: a model on a server gives each reply a score by a rubric."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import urlsplit

from ...core.errors import SteerError
from ...core.parameters import Param
from .kinds import Exchange, Judgement, judge
from .rubric import SCALE, UnreadableScoreError, check_scoring, end_of, request_of, score_of
from .server import Server, UnusableAnswerError, check_installed

_OWN = {"model", "messages", "stream", "n"}


@judge("chat", title="A model on a server")
@dataclass(frozen=True)
class Chat:
    """A model on a server with OpenAI's protocol (`/chat/completions`) gives each reply a score by a rubric."""

    base_url: Annotated[str, Param("Where the server is, up to `/v1`.", example="http://localhost:8000/v1")]
    model: Annotated[str, Param("The model's name on the server.", example="qwen3-32b")]
    rubric: Annotated[
        str,
        Param(
            "What is judged, in words. The conversation and the reply stand in the places `{prompt}` and `{reply}`, or after it.",
            example="How friendly is the reply?",
        ),
    ]
    scale: Annotated[Sequence[float], Param("The lowest and the highest score.", example=[1, 10], schema=SCALE)]
    at_least: Annotated[float, Param("The least score of a reply that is accepted.", example=6)]
    api_key_env: Annotated[
        str | None, Param("The environment variable that holds the server's key.", example="OPENAI_API_KEY")
    ] = None
    request: Annotated[Mapping[str, Any], Param("Further keys of each request.")] = field(
        default_factory=lambda: {"temperature": 0}
    )
    timeout: Annotated[float, Param("The time for one answer.", above=0, unit="seconds")] = 60.0
    retries: Annotated[
        int,
        Param("How often a reply is asked about again after an answer that fails or has no score.", at_least=0, at_most=20),
    ] = 4
    backoff: Annotated[
        float,
        Param("The wait before asking again; it doubles each time, up to 30 seconds.", above=0, at_most=30, unit="seconds"),
    ] = 1.0
    deadline: Annotated[float, Param("The time for all requests of a claim.", above=0, unit="seconds")] = 1800.0
    at_once: Annotated[int, Param("How many requests run at the same time.", at_least=1, at_most=64)] = 4
    cache: Annotated[
        bool | None,
        Param("Whether judgements are kept on disk; without it, if `--steer-cache` names a folder.", example=True),
    ] = None

    def __post_init__(self) -> None:
        what = "the judge 'chat'"
        check_scoring(self.scale, self.at_least, what)
        try:
            url = urlsplit(self.base_url)
            is_place = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:  # of a port that is none, or half of an IPv6 address
            is_place = False
        if not is_place or not self.base_url.isprintable() or " " in self.base_url:
            raise SteerError(f"{what}: base_url begins with http:// or https:// and a server's name, not {self.base_url!r}")
        if url.username or url.password or url.query or url.fragment:
            raise SteerError(
                f"{what}: base_url is a place alone, since it stands in reports. Put the key in an environment variable, and name that: "
                "`api_key_env: OPENAI_API_KEY`"
            )
        if taken := sorted(_OWN & self.request.keys()):
            raise SteerError(f"{what}: request has {taken[0]!r}, which the judge sets itself. Delete it")
        check_installed(what)
        _ = self._server

    @cached_property
    def _server(self) -> Server:
        return Server(
            self.base_url.rstrip("/") + "/chat/completions",
            key=_key_in(self.api_key_env),
            timeout=self.timeout,
            retries=self.retries,
            backoff=self.backoff,
            deadline=self.deadline,
            at_once=self.at_once,
        )

    def judge(self, exchanges: Sequence[Exchange]) -> Iterator[Judgement]:
        """One judgement per exchange, each from a request of its own. Closing the generator breaks off the open requests."""
        bodies = [
            {
                **self.request,
                "model": self.model,
                "messages": [{"role": "user", "content": request_of(self.rubric, exchange, self.scale)}],
            }
            for exchange in exchanges
        ]
        return self._server.ask(bodies, self._judgement, Judgement.none)

    def _judgement(self, answer: Any) -> Judgement:
        text = _text_in(answer)
        try:
            score = score_of(text, self.scale)
        except UnreadableScoreError as error:
            raise UnusableAnswerError(str(error)) from None
        return Judgement(score >= self.at_least, score=score, said=end_of(text))

    def record(self) -> dict[str, Any]:
        names = ("base_url", "model", "rubric", "at_least")
        own = {name: getattr(self, name) for name in names}
        return {"judge": "chat", **own, "scale": list(self.scale), "request": dict(self.request)}


def _key_in(variable: str | None) -> str | None:
    """The key in an environment variable.

    Raises:
        SteerError: it is not set, or holds what is no key; says nothing of what it holds.
    """
    if variable is None:
        return None
    key, what = os.environ.get(variable, "").strip(), f"the judge 'chat': api_key_env: the environment variable {variable}"
    if not key:
        raise SteerError(f"{what} is not set")
    if not key.isascii() or not key.isprintable():
        raise SteerError(f"{what} holds characters that a key cannot have")
    return key


def _text_in(answer: Any) -> str:
    """What the model said.

    Raises:
        UnusableAnswerError: the answer has another shape, or ends where the server cut it.
    """
    try:
        choice = answer["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError):
        raise UnusableAnswerError("the answer has no choices[0].message.content") from None
    if not isinstance(text, str):
        raise UnusableAnswerError(f"choices[0].message.content of the answer is no text (finish_reason {reason!r})")
    if reason == "length":
        raise UnusableAnswerError("the answer was cut at its greatest length")
    return text
