"""The style guide, and what can be known of the look without a browser: contrast, and a style for each status."""

import pytest
from django.test import Client

from mission_control.colours import Colour, contrast, tokens
from tasks.pages.styleguide_views import INKS, SURFACES, contrasts, stand_ins
from tasks.vocabulary import STATUSES


def test_every_text_colour_reaches_its_contrast_on_every_surface_in_both_themes():
    found = contrasts()
    assert len(found) == 2 * len(INKS)
    low = [(theme, ink, *one) for theme, ink, reached in found for one in reached if not one[2]]
    assert low == []


def test_contrast_is_counted_as_the_guidelines_do():
    black, white, grey = (Colour(lightness, 0, 0) for lightness in (0, 1, 0.6))
    assert contrast(black, white) == pytest.approx(21, abs=0.01)
    assert contrast(white, white) == 1
    assert contrast(white, grey) == contrast(grey, white)
    red = Colour(0.628, 0.2577, 29.23)  # #f00, which is 4.0 on white
    assert contrast(red, white) == pytest.approx(3.998, abs=0.02)


def test_tokens_are_read_in_both_themes():
    assert set(SURFACES) | set(INKS) <= set(tokens()["light"]) & set(tokens()["dark"])
    assert tokens()["light"]["surface"].luminance > 0.99 > 0.1 > tokens()["dark"]["surface"].luminance


@pytest.mark.django_db
def test_the_guide_shows_each_status_and_is_there_only_with_debug(operator, settings):
    client = Client()
    client.force_login(operator.user)
    assert client.get("/styleguide").status_code == 404
    settings.DEBUG = True
    page = client.get("/styleguide").content.decode()
    assert all(f'class="pill s-{status}"' in page for status in STATUSES)
    assert page.count('class="card card--') == len(stand_ins())
    assert "too low" not in page
