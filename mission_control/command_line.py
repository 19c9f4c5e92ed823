"""The command line `mctl` as one file that a plain Python runs: the package mission_control/mctl, zipped. Not: what is in it.

The same sources give the same bytes, so its hash can be compared.
"""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from pathlib import Path

SOURCES = Path(__file__).parent / "mctl"
BEGINNING = b'"""`python3 mctl` begins here."""\n\nimport sys\n\nfrom mctl.cli import main\n\nsys.exit(main())\n'
BEFORE_TIME = (1980, 1, 1, 0, 0, 0)  # the oldest moment a zip can name


@functools.cache
def packed() -> tuple[bytes, str]:
    """`(the file, its SHA-256)`. Stored and not deflated: it starts faster, and needs no zlib where it runs."""
    buffer = io.BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", BEFORE_TIME), BEGINNING)
        for path in sorted(SOURCES.glob("*.py")):
            archive.writestr(zipfile.ZipInfo(f"mctl/{path.name}", BEFORE_TIME), path.read_bytes())
    content = buffer.getvalue()
    return content, hashlib.sha256(content).hexdigest()
