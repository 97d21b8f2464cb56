"""The judge ``chat``: a model on a server gives each reply a score by a rubric."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any
from urllib.parse import urlsplit

from ...core.columns import visible
from ...core.errors import SteerError
from ...core.evidence import Json
from ...core.parameters import Param
from .kinds import (
    Cached,
    Exchange,
    Judgement,
    LeastScore,
    Rubric,
    Scale,
    UnusableAnswerError,
    check_scoring,
    judge,
    request_of,
    scored,
)

_OWN = {"model", "messages", "stream", "n"}


@judge("chat", title="A model on a server")
@dataclass(frozen=True)
class Chat:
    """A model on a server with OpenAI's protocol (`/chat/completions`) gives each reply a score by a rubric."""

    base_url: Annotated[str, Param("Where the server is, up to `/v1`.", example="http://localhost:8000/v1")]
    model: Annotated[str, Param("The model's name on the server.", example="qwen3-32b")]
    rubric: Rubric
    scale: Scale
    at_least: LeastScore
    api_key_env: Annotated[
        str | None, Param("The environment variable that holds the server's key.", example="OPENAI_API_KEY")
    ] = None
    request: Annotated[Json, Param("Further keys of each request.")] = field(default_factory=lambda: {"temperature": 0})
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
    cache: Cached = None

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
        lacking = [name for name in ("httpx", "tenacity") if importlib.util.find_spec(name) is None]
        if lacking:
            raise SteerError(f"{what} needs {' and '.join(lacking)}. Install: pip install 'pytest-steer[judges]'")
        _ = self._key

    @cached_property
    def _key(self) -> str | None:
        """The server's key, from its environment variable.

        Raises:
            SteerError: it is not set, or is no key; the message says nothing of its value.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        what = f"the judge 'chat': api_key_env: the environment variable {self.api_key_env}"
        if not key:
            raise SteerError(f"{what} is not set")
        if not key.isascii() or not key.isprintable():
            raise SteerError(f"{what} holds characters that a key cannot have")
        return key

    def judge(self, exchanges: Sequence[Exchange]) -> Iterator[Judgement]:
        """One judgement per exchange, each from a request of its own. Closing the generator breaks off the open requests."""
        from anyio.from_thread import start_blocking_portal

        requests = _Requests(self, self._key)
        # The event loop runs in a thread of its own, since a test may run in one already.
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(requests.opened()):
            waiting, answers = iter(exchanges), deque[Any]()

            def begin(count: int) -> None:
                answers.extend(portal.start_task_soon(requests.judgement, one) for one in itertools.islice(waiting, count))

            try:
                begin(_AHEAD * self.at_once)
                while answers:
                    found = answers[0].result()  # stays among those that are cancelled, should waiting be interrupted
                    answers.popleft()
                    yield found
                    begin(1)
            finally:
                for answer in answers:
                    answer.cancel()

    def record(self) -> Json:
        names = ("base_url", "model", "rubric", "at_least")
        own = {name: getattr(self, name) for name in names}
        return {"judge": "chat", **own, "scale": list(self.scale), "request": dict(self.request)}


def _text_in(answer: Any) -> str:
    """The model's answer.

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


_LARGEST = 2**20  # bytes of an answer
# Requests begun before the first is read, as a multiple of those open at once: a slow one does not hold up the others, and a judge that
# fails is not asked about all replies before that is noticed.
_AHEAD = 4
_LONGEST_WAIT = 30.0  # seconds before asking again
_PASSING = {408, 409, 425, 429}  # status codes that pass by themselves, as those from 500 on do
_SHOWN = 160  # characters of a server's error message


class _Requests:
    """The requests of one judge: several at once, repeated where an answer cannot be used, all within its deadline."""

    def __init__(self, chat: Chat, key: str | None) -> None:
        self.chat, self.key = chat, key
        self.url = chat.base_url.rstrip("/") + "/chat/completions"
        self.httpx: Any = import_module("httpx")
        self.tenacity: Any = import_module("tenacity")
        self.ends = time.monotonic() + chat.deadline

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Hold what the requests share."""
        import anyio

        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        self.places = anyio.CapacityLimiter(self.chat.at_once)
        # No time limit of its own, which would begin again with each piece of an answer.
        async with self.httpx.AsyncClient(timeout=None, headers=headers) as self.client:
            yield

    async def judgement(self, exchange: Exchange) -> Judgement:
        import anyio

        why = "none was made"
        try:
            with anyio.fail_after(max(0.0, self.ends - time.monotonic())):
                async with self.places:
                    async for attempt in self._attempts():
                        with attempt:
                            try:
                                return scored(_text_in(await self._answer(exchange)), self.chat.scale, self.chat.at_least)
                            except UnusableAnswerError as error:
                                why = str(error) if self.key is None else str(error).replace(self.key, "***")
                                raise
        except UnusableAnswerError:
            return Judgement.none(why)
        except TimeoutError:
            why = f"the {self.chat.deadline:g} s for all requests are over (last answer: {why})"
        return Judgement.none(why)

    def _attempts(self) -> Any:
        import anyio

        doubling = self.tenacity.wait_exponential(multiplier=self.chat.backoff, max=_LONGEST_WAIT)
        return self.tenacity.AsyncRetrying(
            stop=self.tenacity.stop_after_attempt(self.chat.retries + 1),
            retry=self.tenacity.retry_if_exception(lambda error: isinstance(error, UnusableAnswerError) and error.again),
            wait=lambda state: max(doubling(state), min(state.outcome.exception().after, _LONGEST_WAIT)),
            sleep=anyio.sleep,
            reraise=True,
        )

    async def _answer(self, exchange: Exchange) -> Any:
        """The server's answer, as JSON.

        Raises:
            UnusableAnswerError: there is no whole one in time.
        """
        import anyio

        chat = self.chat
        said = {"role": "user", "content": request_of(chat.rubric, exchange, chat.scale)}
        body = {**chat.request, "model": chat.model, "messages": [said]}
        try:
            with anyio.fail_after(self.chat.timeout):
                async with self.client.stream("POST", self.url, json=body) as response:
                    content = bytearray()
                    async for part in response.aiter_bytes():
                        content += part
                        if len(content) > _LARGEST:
                            raise UnusableAnswerError("the answer is longer than a MiB", again=False)
        except TimeoutError:
            raise UnusableAnswerError(f"no whole answer within {self.chat.timeout:g} s") from None
        except self.httpx.ConnectError:
            raise UnusableAnswerError(f"no connection to {self.url} (is the server running?)") from None
        except self.httpx.RemoteProtocolError:
            raise UnusableAnswerError("the connection was closed before the answer was whole") from None
        except self.httpx.HTTPError as error:
            raise UnusableAnswerError(f"the connection failed ({type(error).__name__})") from None
        if response.status_code != 200:
            passes = response.status_code in _PASSING or response.status_code >= 500
            after = response.headers.get("retry-after", "")
            raise UnusableAnswerError(
                f"HTTP {response.status_code} {response.reason_phrase}{_said(bytes(content))}",
                again=passes,
                after=float(after) if after.isascii() and after.isdigit() else 0.0,
            )
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise UnusableAnswerError("the answer is no JSON") from None


def _said(content: bytes) -> str:
    """A server's error message, on one line."""
    try:
        said = json.loads(content)["error"]
        text = said["message"] if isinstance(said, dict) else said
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    text = visible(" ".join(str(text).split()))
    return f": {text[:_SHOWN]}" if text else ""
