"""Markdown from people and agents as HTML that can neither run nor load anything, nor look like our controls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

TAGS = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "strong", "em", "s", "code", "pre",
    "blockquote", "a", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
SCHEMES = {"http", "https", "mailto"}
HEADINGS = {"h1": "h4", "h2": "h5", "h3": "h6", "h4": "h6", "h5": "h6"}  # below the headings of the page around it


def _image_as_link(tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    """A remote image would tell its host who looks when: it becomes a link."""
    token = tokens[index]
    source = str(token.attrGet("src") or "")
    return f'<a href="{escape(source)}">{escape(token.content or source)}</a>'


def _lower_heading(tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    tag = HEADINGS.get(tokens[index].tag, "h6")
    return f"<{tag}>" if tokens[index].nesting == 1 else f"</{tag}>\n"


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(["table", "strikethrough"])
    parser.renderer.rules["image"] = _image_as_link  # type: ignore[attr-defined]
    parser.renderer.rules["heading_open"] = _lower_heading  # type: ignore[attr-defined]
    parser.renderer.rules["heading_close"] = _lower_heading  # type: ignore[attr-defined]
    return parser


_markdown = _parser()


def _only_absolute(_tag: str, attribute: str, value: str) -> str | None:
    """A link leads out by its full address, never to a page of ours under somebody else's words."""
    if attribute == "href" and not value.lower().startswith(("http://", "https://", "mailto:")):
        return None
    return value


@lru_cache(maxsize=512)
def rendered(text: str) -> SafeString:
    """The HTML of `text`; "" for nothing."""
    if not text.strip():
        return mark_safe("")
    html = nh3.clean(
        _markdown.render(text),
        tags=TAGS,
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes=SCHEMES,
        attribute_filter=_only_absolute,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return mark_safe(html)  # this is what nh3 is for


_TAG = re.compile(r"(<[^>]*>)")
_MENTION = re.compile(r"(?<![\w@/.])@([\w][\w.@+-]*)")
QUOTED = ("code", "pre", "a")


def marked(html: SafeString, names: Sequence[str]) -> SafeString:
    """HTML of `rendered` with each `@name` of these in bold, outside of code and links."""
    known = {name.lower() for name in names}
    if not known:
        return html
    parts, inside = _TAG.split(html), 0
    for place, part in enumerate(parts):
        if part.startswith("<"):
            if part.strip("</>").split()[0] in QUOTED:
                inside += -1 if part.startswith("</") else 1
        elif not inside:
            parts[place] = _MENTION.sub(lambda said: _in_bold(said, known), part)
    return mark_safe("".join(parts))  # only tags without attributes were added to what nh3 let through


def _in_bold(said: re.Match[str], known: set[str]) -> str:
    name = said[1] if said[1].lower() in known else said[1].rstrip(".-+@")
    if name.lower() not in known:
        return said[0]
    return f"<strong>@{name}</strong>{said[1][len(name) :]}"
