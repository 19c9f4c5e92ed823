"""Markdown from others: readable, and unable to run, load or look like us."""

from __future__ import annotations

import pytest

from mission_control.markdown import marked, rendered


def test_what_people_write_comes_out_readable():
    html = rendered(
        "# Title\n\nSome *emphasis* and `code`.\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n~~no~~"
    )
    for part in ("<h4>Title</h4>", "<em>emphasis</em>", "<code>code</code>", "<li>one</li>", "<td>1</td>", "<s>no</s>"):
        assert part in html


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<iframe src=//x></iframe>",
        "<a href='javascript:alert(1)'>x</a>", "<form action=/fleet/freeze><button>x</button></form>",
        "<div style='position:fixed'>x</div>", "<style>*{display:none}</style>", "<b class=btn data-new-task>x</b>",
    ],
)  # fmt: skip
def test_html_is_shown_as_text(attack):
    html = rendered(attack)
    assert "&lt;" in html
    assert "<" + attack[1:4] not in html


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "/account/login",
        "//example.org",
        "#x",
    ],
)
def test_a_link_goes_out_by_its_full_address_or_nowhere(link):
    assert "href" not in rendered(f"[x]({link})") and "href" not in rendered(f"[x]: {link}\n\n[x]")


def test_a_link_out_tells_nothing_and_opens_beside():
    assert rendered("[x](https://example.org/a)") == (
        '<p><a href="https://example.org/a" target="_blank" rel="noopener noreferrer nofollow">x</a></p>\n'
    )


def test_a_remote_image_is_a_link():
    html = rendered('![t"><b](https://example.org/track.png)')
    assert "<img" not in html and 'href="https://example.org/track.png"' in html and "<b" not in html


def test_deep_nesting_and_nothing_do_no_harm():
    assert rendered("  \n ") == ""
    assert len(rendered(">" * 3000 + " x")) < 100_000
    assert rendered("[" * 2000)


def test_mentions_stand_out_where_they_are_meant_and_nothing_else_does():
    text = "@ada, @Bob. @nobody `@ada` [@ada](https://example.org) ada@ada.example\n\n    @ada\n\n*@ada*"
    html = marked(rendered(text), ["ada", "bob"])
    assert html.count("<strong>@ada</strong>") == 2
    assert "<strong>@Bob</strong>." in html and "@nobody" in html and "<strong>@nobody" not in html
    assert "<code>@ada</code>" in html and ">@ada</a>" in html and "ada@ada.example" in html
    assert marked(rendered("@ada"), []) == rendered("@ada")


def test_marking_lets_nothing_in():
    hostile = '@ada<script>alert(1)</script> @ada"><img src=x onerror=alert(1)> <b class=btn>@ada</b>'
    html = marked(rendered(hostile), ["ada", "<script>"])
    assert "<script" not in html and "<img" not in html and "class=" not in html.replace("class=btn&gt;", "")
