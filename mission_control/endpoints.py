"""The calls of the API: one plain function each, bound to an address and a method. Not: what any call does (api.py).

A call is a function under `@endpoint`; `resource` binds those of one address to their methods. The same addresses
answer under /api/v1, wrapped, and under /api, bare.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from mission_control import callers, idempotency, log, strict_json
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotThere, Refused
from mission_control.fields import Answer, StrictSerializer
from mission_control.idempotency import Reply
from mission_control.paging import Page
from mission_control.query import Query
from mission_control.rest import JSON, READ, JsonOnly, StrictJSONParser, UploadParser, lower
from mission_control.schema import described

F = TypeVar("F", bound=Callable[..., Any])
WORK = ("work", "orchestrate", "operate")  # the verb asks for the lease, or for somebody who steers
ORCHESTRATE = ("orchestrate",)
STEER = ("operate", "orchestrate", "work")  # the verb asks for an operator, an orchestrator or a lead
OPERATE = ("operate",)
NOTHING_LOADS = "default-src 'none'; frame-ancestors 'none'"  # an answer that a browser opens as a page does nothing
NO_STORE = {"Cache-Control": "no-store"}


# ── one call ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Call:
    """One call of the API: who, what was sent, and how to answer."""

    request: Request
    endpoint: Endpoint
    bare: bool
    given: dict[str, Any] = field(default_factory=dict)
    many: list[dict[str, Any]] | None = None  # a list was sent where one may be
    query: dict[str, Any] = field(default_factory=dict)
    undo: list[Callable[[], None]] = field(default_factory=list)  # when the transaction did not come through

    @property
    def actor(self) -> Actor:
        return cast(Actor, self.request.user)

    @property
    def caller(self) -> Actor:
        """Whose Idempotency-Keys these are: the actor's; where nobody has to say who it is, those of its address."""
        user = self.request.user
        return user if isinstance(user, Actor) else Actor("system", f"anyone at {self.remote}")

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    @property
    def remote(self) -> str:
        return callers.remote_of(self.request.META.get("REMOTE_ADDR", ""), lower(self.request))

    def reply(self, thing: Any, status: int) -> Reply:
        """The usual answer under another status."""
        return shaped(self, thing)._replace(status=status)

    @property
    def cause(self) -> int:
        """What X-Cause says: the number of the line that led the caller to this; 0 without one."""
        said = self.headers.get("X-Cause", "").strip()
        if said and not (said.isascii() and said.isdigit() and len(said) < 19):
            raise Invalid({"X-Cause": "Give the number of a line of the log."})
        return int(said or 0)

    @cached_property
    def version(self) -> int | None:
        """What If-Match says; None without one. Only the number counts, see `_etag`."""
        said = self.headers.get("If-Match")
        if said is None or said.strip() == "*":
            return None
        match = re.fullmatch(r'\s*(?:W/)?"?(\d{1,9})(?:\.[0-9a-f]*)?(?:-\w+)?"?\s*', said)
        return int(match.group(1)) if match else -1


@dataclass(frozen=True)
class Endpoint:
    """What `@endpoint` says of a function: see there."""

    act: Callable[..., Any]
    method: str
    needs: tuple[str, ...] | None
    takes: type[StrictSerializer] | None
    lists: bool
    upload: type[StrictSerializer] | None
    gives: type[Answer] | None
    raw: Any
    media: str
    name: str
    paged: bool
    status: int
    query: Query
    fenced: bool
    whole: bool
    bare_only: bool
    title: str
    path_tag: str
    headers: Mapping[str, str]
    also: Mapping[int, str]

    @property
    def gives_many(self) -> bool:
        return self.name.endswith("s") and self.method == "GET"


def endpoint(
    method: str,
    *,
    needs: tuple[str, ...] | None = READ,
    takes: type[StrictSerializer] | None = None,
    lists: bool = False,
    upload: type[StrictSerializer] | None = None,
    gives: type[Answer] | None = None,
    raw: Any = None,
    media: str = "",
    name: str = "",
    paged: bool = False,
    status: int = 200,
    query: Query | None = None,
    fenced: bool = False,
    whole: bool = False,
    bare_only: bool = False,
    title: str = "",
    tag: str = "",
    headers: Mapping[str, str] | None = None,
    also: Mapping[int, str] | None = None,
) -> Callable[[F], F]:
    """Make a function `(call, …ids from the address)` a call of the API. Its docstring is its description.

    `needs`: one of these abilities, KNOWN or ANYONE. `takes`: what the body holds, read into `call.given` (a list of
    those into `call.many` where `lists`; a form with a file where `upload` says its fields). `gives`: the shape of the
    answer, under `name` in /api/v1; a plural name with GET is a list, `paged` with a cursor. `raw`: what the schema
    says of an answer that is not JSON, `media`: its media type; with `gives`, of the text that it may also be. `fenced`: it heeds the lease headers. `whole`: it reads body and Idempotency-Key
    by itself. `also`: other answers, for the schema.
    A function may also return a finished HttpResponse, a Reply, or None (204).
    """

    def bind(act: F) -> F:
        said = re.split(r"[.:]\s|\n", (act.__doc__ or "").strip() + "\n", maxsplit=1)[0]
        act.endpoint = Endpoint(  # type: ignore[attr-defined]
            act, method, needs, takes, lists, upload, gives, raw, media, name, paged, status, query or Query(), fenced, whole, bare_only,
            title or said.rstrip("."), tag, headers or {}, also or {},
        )  # fmt: skip
        return act

    return bind


def resource(*acts: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
    """The view of one address: each function answers its method."""
    endpoints: dict[str, Endpoint] = {act.endpoint.method: act.endpoint for act in acts}  # type: ignore[attr-defined]
    first = next(iter(endpoints.values()))
    methods: dict[str, Any] = {}
    for method, made in endpoints.items():
        methods[method.lower()] = described(_handler(made), made)
    members = {"endpoints": endpoints, "__doc__": first.act.__doc__, "__module__": first.act.__module__, **methods}
    if any(made.upload for made in endpoints.values()):
        members["parser_classes"] = [StrictJSONParser, UploadParser]
    named = "".join(word.capitalize() for word in first.act.__name__.split("_"))
    view: type[Resource] = type(f"{named}Resource", (Resource,), members)
    return view.as_view()


def _handler(made: Endpoint) -> Callable[..., HttpResponseBase]:
    def handle(self: Resource, request: Request, **ids: str) -> HttpResponseBase:
        return self.answer(request, made, ids)

    handle.__name__ = made.method.lower()
    handle.__doc__ = made.act.__doc__
    return handle


# ── the view ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Resource(APIView):
    """One address. Made by `resource`."""

    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    content_negotiation_class = JsonOnly
    endpoints: Mapping[str, Endpoint] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        try:
            super().initial(request, *args, **kwargs)
        finally:
            actor = getattr(request, "_user", None)
            if isinstance(actor, Actor):
                callers.note_seen(actor)  # before any verb's transaction, also of a call that is refused

    def answer(self, request: Request, made: Endpoint, ids: dict[str, str]) -> HttpResponseBase:
        bare = is_bare(request)
        if made.bare_only and not bare:
            raise exceptions.MethodNotAllowed(request.method or "")
        call = Call(request, made, bare)
        key = request.headers.get("Idempotency-Key") if made.method == "POST" else None
        try:
            with log.caused_by(call.cause):
                if key is None or made.whole:
                    result = self._result(call, ids)
                else:
                    same = self._same(request, made)
                    result = idempotency.once(call.caller, key, same, lambda: self._kept(call, ids))
        except BaseException as error:
            if not (isinstance(error, Refused) and error.keep):
                self._undo(call)
            raise
        return result if isinstance(result, HttpResponseBase) else respond(result, request)

    def _result(self, call: Call, ids: dict[str, str]) -> HttpResponseBase | Reply:
        made = call.endpoint
        self._undo(call)  # what an attempt before left behind
        call.query = made.query.read(call.request.query_params)
        if made.whole:
            pass
        elif made.takes is not None:
            self._read_body(call, made.takes)
        elif made.method == "POST" and call.request.data not in ({}, None):
            raise Invalid(dict.fromkeys(map(str, call.request.data), "This field is unknown."))
        result = made.act(call, **ids)
        if isinstance(result, HttpResponseBase | Reply):
            return result
        if result is None:
            return Reply(204, b"", dict(made.headers))
        return shaped(call, result)

    def _undo(self, call: Call) -> None:
        while call.undo:
            call.undo.pop()()

    def _kept(self, call: Call, ids: dict[str, str]) -> Reply:
        result = self._result(call, ids)
        if isinstance(result, HttpResponseBase):
            raise AssertionError("a POST that may be repeated answers with JSON")
        return result

    def _read_body(self, call: Call, takes: type[StrictSerializer]) -> None:
        data = call.request.data
        if call.endpoint.upload and hasattr(data, "getlist"):
            call.given = call.endpoint.upload.read(_form(data))
        elif isinstance(data, list) and call.endpoint.lists:
            call.many = _each(takes, data)
        else:
            call.given = takes.read(data)

    def _same(self, request: Request, made: Endpoint) -> bytes:
        """What must be equal for two requests to be the same one. An upload's boundary differs each time."""
        start = f"{request.method} {request.path}?{request.META.get('QUERY_STRING', '')}\n".encode()
        if made.upload and (request.content_type or "").startswith("multipart/"):
            form: Any = request.data
            fields = sorted((name, str(form.get(name))) for name in form if name not in request.FILES)
            files = sorted((name, file.size, hash_of(file)) for name, file in request.FILES.items())
            return start + strict_json.write([fields, files])
        return start + request._request.body

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Content-Security-Policy", NOTHING_LOADS)
        if isinstance(getattr(request, "_user", None), Actor):
            response.headers.setdefault("Cache-Control", "private, no-cache")
        return response


def is_bare(request: Request | HttpRequest) -> bool:
    return not request.path.startswith("/api/v1/")


def hash_of(file: Any) -> str:
    """SHA-256 of an uploaded file, read from its start and left there."""
    digest = hashlib.sha256()
    file.seek(0)
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def _each(takes: type[StrictSerializer], items: list[Any]) -> list[dict[str, Any]]:
    read, wrong = [], {}
    for place, item in enumerate(items):
        try:
            read.append(takes.read(item))
        except Invalid as invalid:
            wrong.update({f"{place}.{d['field']}".rstrip("."): d["message"] for d in invalid.details})
            if len(wrong) > 100:
                break
    if wrong:
        raise Invalid(wrong)
    return read


def _form(form: Any) -> dict[str, Any]:
    """The fields and files of a form. Texts are checked like those of JSON."""
    fields = {}
    for name, values in form.lists():
        strict_json.check_text(name)
        if len(values) != 1:
            raise Invalid({name: "Give it once."})
        if isinstance(values[0], str):
            strict_json.check_text(values[0], name)
        fields[name] = values[0]
    return fields


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def shaped(call: Call, result: Any) -> Reply:
    """The JSON of a result by the endpoint's `gives` and `name`, wrapped or bare."""
    made = call.endpoint
    headers = dict(made.headers)
    version = ""
    if isinstance(result, Page):
        items = made.gives.shapes(result.items, call) if made.gives else result.items
        body: Any = items if call.bare else {made.name: items, "next": result.next, **result.more}
        if result.next:
            headers["X-Next-Cursor"] = result.next
    else:
        many = isinstance(result, list)
        if made.gives is None:
            body = result
        else:
            body = made.gives.shapes(result, call) if many else made.gives.shape(result, call)
        if made.name and not call.bare:
            body = {made.name: body}
        number = getattr(result, "version", None)
        version = f"{number}." if isinstance(number, int) else ""
    content = strict_json.write(body)
    if made.method in ("GET", "PATCH") or version:
        headers["ETag"] = _etag(version, content)
    return Reply(made.status, content, headers)


def _etag(version: str, content: bytes) -> str:
    """`"<version>.<digest>"`: If-Match looks at the number, which only recorded changes raise; If-None-Match at all."""
    return f'"{version}{hashlib.blake2b(content, digest_size=6).hexdigest()}"'


def respond(reply: Reply, request: Request | HttpRequest) -> HttpResponse:
    tag = reply.headers.get("ETag")
    if tag and request.method in ("GET", "HEAD") and _matches(request.headers.get("If-None-Match", ""), tag):
        return HttpResponse(status=304, headers={"ETag": tag})
    if reply.status == 204:
        response = HttpResponse(status=204)
    else:
        response = HttpResponse(reply.content, status=reply.status, content_type=JSON)
    for name, value in reply.headers.items():
        response[name] = value
    return response


def _matches(said: str, tag: str) -> bool:
    """A proxy that compresses marks the tag with -gzip or W/: it is the same all the same."""
    if said.strip() == "*":
        return True
    digest = tag.strip('"')
    return any(
        part.strip().removeprefix("W/").strip('"').removesuffix("-gzip").removesuffix("-br") == digest
        for part in said.split(",")
    )


def limited(call: Call, name: str, most: int, seconds: int) -> None:
    """Refuse with 429 what comes too often from one address."""
    callers.within(name, call.remote, most, seconds)


@csrf_exempt
def no_such_route(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    """Every address under /api that is none, in the shape of every other refusal."""
    hint = " Leave the slash at the end out." if request.path.endswith("/") else ""
    return respond(idempotency.refusal(NotThere(f"There is no such address.{hint}")), request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's own 400, for the API in its shape."""
    if not request.path.startswith("/api"):
        return HttpResponse("Bad request", status=400, content_type="text/plain")
    sentence = str(exception) if isinstance(exception, BadRequest) else "This request cannot be read."
    return respond(idempotency.refusal(Refused(sentence, code="bad_request", status=400)), request)
