"""Parts of addresses that Django has no converter for: import it where `<number:…>` stands in a path."""

from django.urls import register_converter
from django.urls.converters import IntConverter


class Number(IntConverter):
    """A whole number that every database can hold: an id with more digits belongs to nothing, so it is no address."""

    regex = "[0-9]{1,18}"


register_converter(Number, "number")
