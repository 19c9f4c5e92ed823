"""The app of ventures and their ledger."""

from django.apps import AppConfig


class VenturesConfig(AppConfig):
    name = "ventures"
