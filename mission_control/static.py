"""Static files: hashed names and compressed copies, made once at start."""

from __future__ import annotations

from typing import Any

import brotli
from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage

# What no page of ours names: the browsable API, another htmx, another documentation page.
UNUSED = ("rest_framework", "django_htmx", "redoc")
BEST_BELOW_BYTES = 200_000  # the best compression of the API documentation's script alone would take seconds


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """A page never fails because a file it names is missing: the plain name is served then.

    Modules import each other by their hashed names too, so that each is kept by the browser for as long as it is the
    same, and none runs twice under two names. They must not import in a circle: a name would depend on itself.
    """

    manifest_strict = False
    support_js_module_import_aggregation = True

    def create_compressor(self, **options: Any) -> Compressor:
        return _Compressor(**options)


class _Compressor(Compressor):
    @staticmethod
    def compress_brotli(data: bytes) -> bytes:
        return brotli.compress(data, quality=11 if len(data) < BEST_BELOW_BYTES else 7)
