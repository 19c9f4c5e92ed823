"""What every test stands on. Tests of one package have their cast in that package's own conftest."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import override_settings


@pytest.fixture(autouse=True, scope="session")
def static_files_under_their_plain_names() -> Iterator[None]:
    """Pages are rendered without having collected and hashed the static files first; `serve` does that in real runs."""
    plain = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with override_settings(STORAGES=plain):
        yield
