"""The judge ``chat``: a model on a server gives each reply a score by a rubric."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from ...core.columns import visible
from ...core.errors import SteerError
from ...core.parameters import Param
from .kinds import SCALE, Exchange, Judgement, UnreadableScoreError, check_scoring, end_of, judge, request_of, score_of

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


Found = TypeVar("Found")

_LARGEST = 2**20  # bytes of an answer
# So many times as many requests as are open at once are begun before the first of them is read: one that is slow does not hold up the
# others, and a judge that fails is not asked about all replies before that is seen.
_AHEAD = 4
_LONGEST_WAIT = 30.0  # seconds before asking again
_PASSING = {408, 409, 425, 429}  # states that pass by themselves, beside those from 500 on
_SHOWN = 160  # characters of what a server says about an error


class UnusableAnswerError(Exception):
    """An answer that cannot be used; the message says why. It is asked for again, unless that would give the same."""

    def __init__(self, why: str, *, again: bool = True, after: float = 0.0) -> None:
        super().__init__(why)
        self.again, self.after = again, after


def check_installed(what: str) -> None:
    """Refuse to go on without the packages of the extra ``judges``.

    Raises:
        SteerError: one of them is not installed.
    """
    lacking = [name for name in ("httpx", "tenacity") if importlib.util.find_spec(name) is None]
    if lacking:
        raise SteerError(f"{what} needs {' and '.join(lacking)}. Install: pip install 'pytest-steer[judges]'")


@dataclass(frozen=True)
class Server:
    """Where requests go, and how long they may take.

    Attributes:
        url: takes each request, by POST.
        key: sent as a bearer token; it stands in no message.
        timeout: seconds for one answer, from the connection to its last byte.
        retries: how often one request is made again.
        backoff: seconds before the first of these, then doubled up to 30, or what the server asks for (``Retry-After``, up to 30).
        deadline: seconds for all requests of one :meth:`ask`.
        at_once: how many run at the same time.
    """

    url: str
    key: str | None = field(repr=False)
    timeout: float
    retries: int
    backoff: float
    deadline: float
    at_once: int

    def ask(
        self, bodies: Sequence[Mapping[str, Any]], read: Callable[[Any], Found], missing: Callable[[str], Found]
    ) -> Iterator[Found]:
        """What is read in the answer to each request, in their order. Closing the generator breaks off those that are open.

        Args:
            read: takes an answer; raises :class:`UnusableAnswerError` for one that cannot be used.
            missing: makes what stands for a request without a usable answer, of the reason.
        """
        from anyio.from_thread import start_blocking_portal

        run = _Run(self, read, missing)
        # The event loop runs in a thread of its own, since a test may run in one already.
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(run.opened()):
            waiting, answers = iter(bodies), deque[Any]()

            def begin(count: int) -> None:
                answers.extend(portal.start_task_soon(run.answer, body) for body in itertools.islice(waiting, count))

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


class _Run:
    """One call of :meth:`Server.ask`."""

    def __init__(self, server: Server, read: Callable[[Any], Any], missing: Callable[[str], Any]) -> None:
        self.server, self.read, self.missing = server, read, missing
        self.httpx: Any = import_module("httpx")
        self.tenacity: Any = import_module("tenacity")
        self.ends = time.monotonic() + server.deadline

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Hold what the requests share."""
        import anyio

        headers = {} if self.server.key is None else {"Authorization": f"Bearer {self.server.key}"}
        self.places = anyio.CapacityLimiter(self.server.at_once)
        # No time limit of its own, which would begin anew with each piece of an answer.
        async with self.httpx.AsyncClient(timeout=None, headers=headers) as self.client:
            yield

    async def answer(self, body: Mapping[str, Any]) -> Any:
        """What is read in the answer to one request, or what stands for none."""
        import anyio

        why = "none was made"
        try:
            with anyio.fail_after(max(0.0, self.ends - time.monotonic())):
                async with self.places:
                    async for attempt in self._attempts():
                        with attempt:
                            try:
                                return self.read(await self._once(body))
                            except UnusableAnswerError as error:
                                why = self._without_key(str(error))
                                raise
        except UnusableAnswerError:
            return self.missing(why)
        except TimeoutError:
            return self.missing(f"the {self.server.deadline:g} s for all requests are over (last answer: {why})")

    def _attempts(self) -> Any:
        import anyio

        doubling = self.tenacity.wait_exponential(multiplier=self.server.backoff, max=_LONGEST_WAIT)
        return self.tenacity.AsyncRetrying(
            stop=self.tenacity.stop_after_attempt(self.server.retries + 1),
            retry=self.tenacity.retry_if_exception(lambda error: isinstance(error, UnusableAnswerError) and error.again),
            wait=lambda state: max(doubling(state), min(state.outcome.exception().after, _LONGEST_WAIT)),
            sleep=anyio.sleep,
            reraise=True,
        )

    async def _once(self, body: Mapping[str, Any]) -> Any:
        """The answer to one request.

        Raises:
            UnusableAnswerError: there is no whole one in time.
        """
        import anyio

        try:
            with anyio.fail_after(self.server.timeout):
                async with self.client.stream("POST", self.server.url, json=body) as response:
                    content = bytearray()
                    async for part in response.aiter_bytes():
                        content += part
                        if len(content) > _LARGEST:
                            raise UnusableAnswerError("the answer is longer than a MiB", again=False)
        except TimeoutError:
            raise UnusableAnswerError(f"no whole answer within {self.server.timeout:g} s") from None
        except self.httpx.ConnectError:
            raise UnusableAnswerError(f"no connection to {self.server.url} (is the server running?)") from None
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

    def _without_key(self, text: str) -> str:
        return text if self.server.key is None else text.replace(self.server.key, "***")


def _said(content: bytes) -> str:
    """What a server says about an error, on one line."""
    try:
        said = json.loads(content)["error"]
        text = said["message"] if isinstance(said, dict) else said
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    text = visible(" ".join(str(text).split()))
    return f": {text[:_SHOWN]}" if text else ""
