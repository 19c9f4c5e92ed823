"""Static files: hashed names and compressed copies, made once at start."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import brotli
from django.core.files.base import ContentFile
from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage

# What no page of ours names: the browsable API, another htmx, another documentation page.
UNUSED = ("rest_framework", "django_htmx", "redoc")
BEST_BELOW_BYTES = 200_000  # the best compression of the API documentation's script alone would take seconds

OURS = ("js/", "css/")  # third-party files are sent as they came
COMMENT = re.compile(r"^[ \t]*(?:/\*.*?\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL)
STYLES = ("css/app.css", "css/pages.css")  # name what they are made of
IMPORT = re.compile(r'^@import url\("([a-z]+\.[0-9a-f]{12}\.css)"\);\n', re.MULTILINE)


def without_comments(source: str) -> str:
    """Scripts and styles without the comments that have lines of their own: a tenth of what a page weighs.

    Only whole lines go, so nothing inside a string or behind code is touched. No string of ours may span lines and
    begin one of them with two slashes.
    """
    return COMMENT.sub("", source)


def _imported(folder: Path, match: re.Match[str]) -> str:
    return (folder / match[1]).read_text()


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """A page never fails because a file it names is missing: the plain name is served then.

    Modules import each other by their hashed names too, so that each is kept by the browser for as long as it is the
    same, and none runs twice under two names. They must not import in a circle: a name would depend on itself.
    """

    manifest_strict = False
    max_post_process_passes = 12  # one for each module on the longest way of imports, and one to see that it is over
    support_js_module_import_aggregation = True

    def _save(self, name: str, content: Any) -> str:
        if name.startswith(OURS) and name.endswith((".js", ".css")):
            source = b"".join(content.chunks()).decode()  # from its beginning, whoever read it before
            content = ContentFile(without_comments(source).encode())
        return str(super()._save(name, content))

    def post_process_with_compression(self, files: Iterable[Any]) -> Iterator[Any]:
        """Joins the style sheets between hashing, which names each file by its content, and compressing."""
        hashed = list(files)
        for index in STYLES:
            path = Path(self.path(self.hashed_files[self.hash_key(index)]))
            path.write_text(IMPORT.sub(partial(_imported, path.parent), path.read_text()))
        yield from super().post_process_with_compression(iter(hashed))

    def create_compressor(self, **options: Any) -> Compressor:
        return _Compressor(**options)


class _Compressor(Compressor):
    @staticmethod
    def compress_brotli(data: bytes) -> bytes:
        return brotli.compress(data, quality=11 if len(data) < BEST_BELOW_BYTES else 7)
