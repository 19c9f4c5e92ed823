"""The OpenAPI document: what each call takes and gives, made from the endpoints themselves. Not: the calls (api.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
    inline_serializer,
)
from rest_framework import serializers

from mission_control.fields import ErrorOut

CANONICAL = "/api/v1/"
SECOND_NAMES = ("/api/v1/projects", "/api/v1/openclaw/", "/api/v1/events")
REFUSALS = {
    400: "Bad input, one entry per field.",
    401: "Nobody we know.",
    403: "Known, but this is not allowed.",
    404: "Not there, or not for you.",
    409: "The state of things forbids it; the sentence says why and what would work.",
    412: "Somebody changed it in the meantime (If-Match).",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "This Idempotency-Key was used for another request.",
    429: "Too fast: see Retry-After.",
    503: "The database is busy: see Retry-After. Nothing was changed.",
}


def described(handler: Callable[..., Any], made: Any) -> Callable[..., Any]:
    """The handler, with what the schema says of it."""
    act = made.act
    app = act.__module__.split(".")[0]
    kept: Callable[..., Any] = extend_schema(
        operation_id=f"{app}_{act.__name__.rstrip('_')}",
        summary=made.title,
        description=_prose(act.__doc__ or ""),
        tags=[made.path_tag or app],
        request=_request(made),
        responses=_responses(made),
        parameters=_parameters(made),
        auth=[] if made.needs is None else None,
        exclude=made.bare_only,
    )(handler)
    return kept


def _prose(docstring: str) -> str:
    return "\n".join(line.strip() for line in docstring.strip().splitlines())


def _request(made: Any) -> Any:
    if made.takes is None:
        return None
    body: Any = made.takes
    if made.lists:
        body = PolymorphicProxySerializer(
            component_name=f"{made.takes.__name__}OrList",
            serializers=[made.takes, made.takes(many=True)],
            resource_type_field_name=None,
            many=False,
        )
    if made.upload is not None:
        return {"application/json": body, "multipart/form-data": made.upload}
    return body


def _responses(made: Any) -> dict[Any, Any]:
    told: dict[Any, Any] = {
        (made.status, media) if media else made.status: _answer(made) for media in made.media.split(", ")
    }
    if made.media and made.gives:
        told = {(made.status, "application/json"): _answer(made), (made.status, made.media): OpenApiTypes.STR}
    for status, about in made.also.items():
        told[status] = OpenApiResponse(None if status in (204, 304) else OpenApiTypes.OBJECT, about)
    if made.method == "GET":
        told.setdefault(304, OpenApiResponse(None, "Not changed since the answer with this ETag."))
    left_out = {412} if made.method != "PATCH" else set()
    left_out |= {413, 415} if made.method in ("GET", "DELETE") else set()
    left_out |= {422} if made.method != "POST" else set()
    left_out |= {401} if made.needs is None else set()
    for status, about in REFUSALS.items():
        if status not in left_out:
            told.setdefault(status, OpenApiResponse(ErrorOut, about))
    return told


def _answer(made: Any) -> Any:
    if made.status == 204 or (made.gives is None and not made.name and made.raw is None):
        return OpenApiResponse(None, "Done.")
    if made.raw is not None:
        return OpenApiResponse(made.raw, "The bytes.")
    one = made.gives
    if one is None:
        return OpenApiTypes.OBJECT
    if not made.name:
        return one
    page = made.gives_many
    fields: dict[str, Any] = {made.name: one(many=True) if page else one()}
    if page and made.paged:
        fields["next"] = serializers.CharField(allow_null=True, help_text="Cursor of the following page.")
    name = "".join(word.capitalize() for word in f"{made.act.__module__.split('.')[0]}_{made.act.__name__}".split("_"))
    answer = inline_serializer(name=f"{name}Answer", fields=fields)
    if not made.lists:
        return answer
    many = inline_serializer(name=f"{name}AnswerToAList", fields={f"{made.name}s": one(many=True)})
    return PolymorphicProxySerializer(
        component_name=f"{name}AnswerOrList", serializers=[answer, many], resource_type_field_name=None, many=False
    )


def _parameters(made: Any) -> list[OpenApiParameter]:
    told = [
        OpenApiParameter(param.name, dict(param.schema), "query", description=param.about)
        for param in made.query.params
    ]
    header: Literal["header"] = "header"
    if made.method == "POST" and made.raw is None:
        about = "The same key and body again give the same answer, for 24 h."
        shape = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        told.append(OpenApiParameter("Idempotency-Key", shape, header, description=about))
    if made.method == "PATCH":
        told.append(OpenApiParameter("If-Match", str, header, description="The ETag it was read with."))
    if made.method in ("POST", "PUT", "PATCH", "DELETE") and made.needs is not None:
        about = "The number of the line of the log that led to this call, as an event or a webhook told it."
        told.append(OpenApiParameter("X-Cause", {"type": "integer", "minimum": 0}, header, description=about))
    if made.fenced:
        told.append(OpenApiParameter("X-Lease-Epoch", int, header, description="`epoch` of the claim."))
        told.append(OpenApiParameter("X-Lease-Token", str, header, description="`lease_token` of the claim."))
    return told


class CallerScheme(OpenApiAuthenticationExtension):
    target_class = "mission_control.rest.CallerAuthentication"
    name = ["agentKey", "session"]  # as the base class has it

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        """One of the two, not both."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "mc_…", "description": "An agent's key."},
            {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "A person who is logged in."},
        ]


def canonical_paths(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Only /api/v1 and each address once: /api differs by its wrapping alone, some addresses have a second name."""
    return [line for line in endpoints if line[0].startswith(CANONICAL) and not line[0].startswith(SECOND_NAMES)]
