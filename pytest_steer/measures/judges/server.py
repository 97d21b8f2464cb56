"""Requests to a server that answers in JSON: several at once, asked again where an answer cannot be used, all within a bounded time."""

from __future__ import annotations

import importlib.util
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

from ...core.columns import visible
from ...core.errors import SteerError

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
