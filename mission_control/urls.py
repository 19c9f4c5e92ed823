"""The roof for addresses: sees every app. Websockets, event streams and waiting are in asgi.py."""

from django.urls import URLPattern, URLResolver, path

from mission_control import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.prometheus),
]
