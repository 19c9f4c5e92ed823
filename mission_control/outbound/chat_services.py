"""Messages to chats and phones by a channel URL, as Apprise writes them: ntfy://…, slack://… Not: who is told what.

Apprise knows how each service wants to be spoken to; the requests it makes go through outgoing.py like all others. Only
services of the list are taken: they speak HTTP and nothing else. The many others of the library run commands, open
sockets or read files, and so does the parameter `template` of some of these, which is refused.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from mission_control.outbound import outgoing
from mission_control.outbound.outgoing import NotSent

SECONDS = 45  # for all requests of one message
LONGEST = 1500
WITH_FILES = ("template", "store")  # parameters that make a service read or write files of the server

# With these the place of the host holds one; with the rest, which belong to one maker, it may be a token.
WITH_HOST = ("json", "gotify", "mmost", "nctalk", "rocket", "signal", "hassio", "bark", "pushdeer")

# Scheme → the module of apprise.plugins that serves it. Each was read: requests to HTTP addresses, nothing else.
SERVICES = {
    "bark": "bark", "barks": "bark", "chanify": "chanify", "dingtalk": "dingtalk", "discord": "discord",
    "feishu": "feishu", "flock": "flock", "gchat": "google_chat", "gotify": "gotify", "gotifys": "gotify",
    "hassio": "home_assistant", "hassios": "home_assistant", "ifttt": "ifttt", "join": "join", "json": "custom_json",
    "jsons": "custom_json", "lark": "lark", "line": "line", "mmost": "mattermost", "mmosts": "mattermost",
    "nctalk": "nextcloudtalk", "nctalks": "nextcloudtalk", "notica": "notica", "ntfy": "ntfy", "ntfys": "ntfy",
    "opsgenie": "opsgenie", "pagerduty": "pagerduty", "pbul": "pushbullet", "prowl": "prowl", "psafer": "pushsafer",
    "psafers": "pushsafer", "pushdeer": "pushdeer", "pushdeers": "pushdeer", "pover": "pushover",
    "rocket": "rocketchat", "rockets": "rocketchat", "signal": "signal_api", "signals": "signal_api",
    "signl4": "signl4", "slack": "slack", "spush": "simplepush", "tgram": "telegram", "threema": "threema",
    "twilio": "twilio", "twist": "twist", "webex": "webexteams", "wxteams": "webexteams", "wecombot": "wecombot",
    "workflow": "workflows", "workflows": "workflows", "zoom": "zoom", "zulip": "zulip",
}  # fmt: skip


def check(url: str) -> str:
    """What of a channel URL may be shown: its service, and the host if it has one of its own. ValueError: the complaint."""
    service, scheme = _service(url), _scheme(url)
    host = str(getattr(service, "host", "") or "") if scheme.removesuffix("s") in WITH_HOST else ""
    return f"{scheme}://{host[:100]}/…" if host else f"{scheme}://…"


def send(url: str, title: str, text: str) -> None:
    """One message, in up to SECONDS. NotSent says why it did not arrive; the sentence holds nothing of the URL. Blocks."""
    try:
        service = _service(url)
    except ValueError as error:
        raise NotSent(str(error), "address_refused") from None
    _now.until, _now.trouble = time.monotonic() + SECONDS, None
    good = service.notify(body=text[:LONGEST], title=title[:200])
    if not good:
        raise _now.trouble or NotSent("The service did not take it.", "refused")


def _scheme(url: str) -> str:
    return url.partition("://")[0].strip().lower() if "://" in url else ""


def _service(url: str) -> Any:
    """The service that a URL names, ready to be spoken to. ValueError is the complaint."""
    scheme = _scheme(url)
    if len(url) > outgoing.LONGEST:
        raise ValueError(f"At most {outgoing.LONGEST} characters.")
    if scheme not in SERVICES:
        named = ", ".join(sorted(SERVICES))
        raise ValueError(f"Begin with the scheme of a service and ://. These are taken: {named}.")
    plugin, asset = _plugin(SERVICES[scheme]), _asset()
    wrong = "The service cannot read this URL. Its form is told in the documentation of Apprise."
    try:
        told = plugin.parse_url(url)
        if not told:
            raise ValueError(wrong)
        if any(name in told.get("qsd", {}) for name in WITH_FILES):
            raise ValueError(
                f"Leave out the parameters {' and '.join(WITH_FILES)}: they are about files of this server."
            )
        return plugin(asset=asset, **told)
    except (TypeError, AttributeError, KeyError):
        raise ValueError(wrong) from None


@cache
def _plugin(name: str) -> Any:
    """The class of a service, with our client in the place of its own. Loaded when somebody first needs it."""
    import apprise  # takes 30 MB and a fifth of a second

    for silent in ("apprise", "urllib3"):
        logging.getLogger(silent).setLevel(logging.CRITICAL + 1)  # what they log may hold secrets
    module = import_module(f"apprise.plugins.{name}")
    kinds = [
        kind for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, apprise.NotifyBase) and kind.__module__ == module.__name__
    ]  # fmt: skip
    module.requests = _requests()  # type: ignore[attr-defined]
    return kinds[-1]


@cache
def _asset() -> Any:
    import apprise

    return apprise.AppriseAsset(
        app_id="Mission Control", app_desc="", app_url="", async_mode=False, secure_logging=True
    )


# ── its requests are ours ───────────────────────────────────────────────────────────────────────────────────────────


class _Now(threading.local):
    """Of the message that this thread sends: until when, and what stood in the way."""

    until = 0.0
    trouble: NotSent | None = None


_now = _Now()


@cache
def _requests() -> ModuleType:
    """What a service finds under the name `requests`: the same words, but every way out is guarded."""
    import requests

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request: Any, *_: Any, **__: Any) -> Any:
            content = request.body or b""
            try:
                seconds = min(outgoing.SECONDS, _now.until - time.monotonic())
                if seconds <= 0:
                    raise NotSent("The service took too long.", "too_slow")
                answer = outgoing.request(
                    request.method or "GET",
                    request.url or "",
                    headers={name: value for name, value in request.headers.items() if name.lower() not in OURS},
                    content=content.encode() if isinstance(content, str) else bytes(content),
                    seconds=seconds,
                )
            except NotSent as trouble:
                _now.trouble = trouble
                raise requests.ConnectionError(trouble.sentence) from None
            if not answer.is_good:
                host = outgoing.host_of(request.url or "")
                _now.trouble = NotSent(f"{host} answered {answer.status}.", "refused")
            made = requests.Response()
            made.status_code, made._content, made.request = answer.status, answer.body, request
            made.headers.update(answer.headers)
            made.url = request.url or ""
            return made

        def close(self) -> None:
            pass

    class Session(requests.Session):
        def __init__(self) -> None:
            super().__init__()
            self.trust_env = False
            for scheme in ("https://", "http://"):
                self.mount(scheme, Adapter())

        def send(self, request: Any, **options: Any) -> Any:
            return super().send(request, **{**options, "allow_redirects": False})

    def request(method: str, url: str, **options: Any) -> Any:
        with Session() as session:
            return session.request(method, url, **options)

    guarded = ModuleType("requests")
    guarded.__dict__.update(
        {
            name: getattr(requests, name)
            for name in ("codes", "exceptions", "auth", "RequestException", "TooManyRedirects")
        }
    )
    guarded.__dict__.update(Session=Session, session=Session, request=request)
    for method in ("get", "post", "put", "patch", "delete", "head"):
        guarded.__dict__[method] = lambda url, method=method, **options: request(method.upper(), url, **options)
    return guarded


OURS = ("host", "content-length", "connection", "accept-encoding", "transfer-encoding")  # headers that outgoing.py sets
