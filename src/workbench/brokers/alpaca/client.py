"""One HTTP request per call: time-outs, no retries, and every foreign exception mapped to our tree.

Three habits of alpaca-trade-api 3.2.0 are taken from it here (``rest.py`` of the library): it repeats every
method, POST included, on 429 and 504; it waits for ever; and it reads addresses, retries and an OAuth token
from the environment, which would send orders to another host or account than the one configured.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import requests
from alpaca_trade_api.rest import REST
from requests.adapters import HTTPAdapter

from workbench.brokers.alpaca.access import KEY_VARIABLE, SECRET_VARIABLE, require_usable
from workbench.brokers.base import Pace
from workbench.clock import Clock
from workbench.errors import BrokerError, BrokerUnavailable, ConfigError, OrderRejected, OrderUnknown, RateLimited
from workbench.settings import AlpacaSettings

Json = dict[str, Any]

# Answers to POST and PATCH that say: nothing was done (DESIGN section 7, rule 3; 404 is an unknown order or asset).
_DEFINITIVE = frozenset({400, 401, 403, 404, 422})
# Alpaca's limit is one of calls per minute, so nothing lasts longer; a clock that runs ahead must not make us spin.
_LONGEST_WAIT_S = 60.0
_SHORTEST_WAIT_S = 1.0


class AlpacaClient:
    """Alpaca's trading interface, version 2. Times out, never retries, never follows the environment.

    ``changes`` (POST, PATCH) are sent exactly once; numbers in answers are ``Decimal``.
    """

    def __init__(self, settings: AlpacaSettings, *, key: str, secret: str, clock: Clock, version: str = "v2") -> None:
        require_usable(key, secret)
        self._address = settings.base_url
        self._read_timeout_s = settings.read_timeout_s
        self._clock = clock
        self._remaining: int | None = None
        self._reset = 0.0
        self._rest = _rest(settings, key, secret, version)

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """What is at ``path``.

        Raises
        ------
        BrokerUnavailable
            No answer, or none that can be read: it may be asked again.
        BrokerError
            Alpaca refused the question, for instance the credentials.
        """
        response = self._read(path, params)
        if response.status_code == 404:
            raise BrokerUnavailable(f"{self._address} does not know {path}: {_said(response)}")
        return self._parsed(path, response)

    def find(self, path: str, params: Mapping[str, Any] | None = None) -> Json | None:
        """The same, or None where Alpaca itself says that there is no such thing.

        A 404 without Alpaca's own error code comes from something in between and says nothing.
        """
        response = self._read(path, params)
        if response.status_code == 404:
            if str(_error(response).get("code", "")).startswith("404"):
                return None
            raise BrokerUnavailable(f"{self._address} does not know {path}: {_said(response)}")
        found: Json = self._parsed(path, response)
        return found

    def change(self, method: str, path: str, body: Json) -> Json:
        """POST or PATCH ``body``, once.

        Raises
        ------
        OrderRejected
            Alpaca refused it definitively.
        OrderUnknown
            It may have arrived: no answer, one that cannot be read, or an id that Alpaca has already.
        BrokerUnavailable
            It was certainly not accepted.
        """
        what = f"{method} {path}"
        try:
            response = self._call(method, path, body)
        except requests.RequestException as error:
            if _was_not_sent(error):
                raise BrokerUnavailable(self._silence(what, error)) from error
            raise OrderUnknown(self._silence(what, error)) from error
        status = response.status_code
        if status == 429:
            raise self._rate_limited(what)
        if status in _DEFINITIVE and "message" in (said := _error(response)):
            if "client_order_id" in (text := str(said["message"]).lower()) and "unique" in text:
                raise OrderUnknown(f"Alpaca has an order of that id already: {_said(response)}")
            raise OrderRejected(f"Alpaca refused {what}: {_said(response)}", hint=self._hint(status))
        answer = _json(response) if 200 <= status < 300 else None
        if not isinstance(answer, dict):
            raise OrderUnknown(f"{self._address} answered {what} with {_said(response)}")
        return answer

    def delete(self, path: str) -> None:
        """Ask to cancel what is at ``path``; that it is gone or can no longer be cancelled is no error.

        Raises
        ------
        BrokerUnavailable
            No answer, or none that can be read: it may be asked again.
        """
        what = f"DELETE {path}"
        try:
            response = self._call("DELETE", path, None)
        except requests.RequestException as error:
            raise BrokerUnavailable(self._silence(what, error)) from error
        if response.status_code not in (200, 204, 404, 422):
            raise self._refusal(what, response)

    def pace(self) -> Pace | None:
        """What the rate headers said last; None if there were none."""
        if self._remaining is None:
            return None
        return Pace(self._remaining, max(0.0, self._reset - self._clock.now().timestamp()))

    def close(self) -> None:
        self._rest.close()

    # ---- one request -----------------------------------------------------------------------------

    def _call(self, method: str, path: str, data: Mapping[str, Any] | None) -> requests.Response:
        response: requests.Response = getattr(self._rest, method.lower())(path, data)
        with contextlib.suppress(KeyError, ValueError):  # not every answer has them; what was said last stands
            self._reset = float(response.headers["X-RateLimit-Reset"])
            self._remaining = int(response.headers["X-RateLimit-Remaining"])
        return response

    def _read(self, path: str, params: Mapping[str, Any] | None) -> requests.Response:
        try:
            response = self._call("GET", path, params)
        except requests.RequestException as error:
            raise BrokerUnavailable(self._silence(f"GET {path}", error)) from error
        if response.status_code not in (200, 404):
            raise self._refusal(f"GET {path}", response)
        return response

    def _parsed(self, path: str, response: requests.Response) -> Any:
        answer = _json(response)
        if answer is None:
            raise BrokerUnavailable(f"{self._address} answered GET {path} with {_said(response)}")
        return answer

    # ---- what went wrong -------------------------------------------------------------------------

    def _refusal(self, what: str, response: requests.Response) -> BrokerError:
        """The error for an answer to something that may be repeated."""
        status = response.status_code
        if status == 429:
            return self._rate_limited(what)
        if status in (401, 403) or (status in (400, 422) and "message" in _error(response)):
            return BrokerError(f"Alpaca refused {what}: {_said(response)}", hint=self._hint(status))
        return BrokerUnavailable(f"{self._address} answered {what} with {_said(response)}")

    def _rate_limited(self, what: str) -> RateLimited:
        pace = self.pace()
        wait_s = min(max(pace.reset_s if pace else 0.0, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)
        return RateLimited(f"Alpaca takes no more calls for {wait_s:.0f} s: {what}", retry_after_s=wait_s)

    def _hint(self, status: int) -> str | None:
        if status != 401:
            return None
        return f"check that {KEY_VARIABLE} and {SECRET_VARIABLE} belong to an account at {self._address}"

    def _silence(self, what: str, error: requests.RequestException) -> str:
        """Why no answer came, in one line: the library's own text names objects in memory."""
        if _was_not_sent(error):
            why = "cannot be reached"
        elif isinstance(error, requests.Timeout):
            why = f"did not answer within {self._read_timeout_s:g} s"
        else:
            why = "dropped the connection"
        return f"{self._address} {why}: {what}"


class _OneTry(REST):  # type: ignore[misc]  # the library has no types
    """The library's client with its retry loop idle: it gets the answer itself, whatever the status."""

    def _one_request(self, method: str, url: str, opts: Json, retry: int) -> requests.Response:
        return self._session.request(method, url, **opts)  # type: ignore[no-any-return]


class _TimeLimited(HTTPAdapter):
    """Sends with connect and read time-outs (seconds) and no retries of its own."""

    def __init__(self, connect_s: float, read_s: float) -> None:
        self._limits = (connect_s, read_s)
        super().__init__(max_retries=0)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = self._limits
        return super().send(request, *args, **kwargs)


def _rest(settings: AlpacaSettings, key: str, secret: str, version: str) -> REST:
    try:
        rest = _OneTry(key, secret, settings.base_url, api_version=version, raw_data=True)
    except ValueError as error:  # it reads numbers that it is not going to use
        raise ConfigError(
            "APCA_RETRY_MAX, APCA_RETRY_WAIT or APCA_RETRY_CODES is not a number", hint="unset it"
        ) from error
    rest._oauth = None  # a token in the environment would trade another account than the keys name
    rest._retry = 0
    session = rest._session
    session.trust_env = False  # no proxy, no .netrc: nothing but the settings says where an order goes
    session.mount("https://", _TimeLimited(settings.connect_timeout_s, settings.read_timeout_s))
    session.mount("http://", _TimeLimited(settings.connect_timeout_s, settings.read_timeout_s))
    return rest


def _was_not_sent(error: requests.RequestException) -> bool:
    """Whether the request certainly did not leave: no connection was made, or the host's certificate is wrong."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    seen: BaseException | None = error
    while seen is not None:
        # By name: urllib3 2 has the first with a subclass for names that do not resolve, urllib3 1 has not.
        if {c.__name__ for c in type(seen).__mro__} & {"NewConnectionError", "SSLCertVerificationError"}:
            return True
        inner = getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)
        seen = inner if isinstance(inner, BaseException) else None
    return False


def _json(response: requests.Response) -> Any:
    """The body; None if it is not JSON."""
    try:
        return json.loads(response.content, parse_float=Decimal, parse_constant=_refuse_constant)
    except ValueError:
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _error(response: requests.Response) -> Json:
    body = _json(response)
    return body if isinstance(body, dict) else {}


def _said(response: requests.Response) -> str:
    """Status and the venue's own words, in one line."""
    error = _error(response)
    if "message" not in error:
        kind = response.headers.get("Content-Type", "no content type")
        return f"status {response.status_code} and {len(response.content)} bytes that are no answer ({kind})"
    code = f", code {error['code']}" if "code" in error else ""
    return f"{error['message']} (status {response.status_code}{code})"
