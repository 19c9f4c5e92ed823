"""The roof for addresses: sees every app. Websockets, event streams and waiting are in asgi.py."""

from allauth.account import views as account
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from agents.urls import page_urls as agent_pages
from mission_control import health, views
from tasks.urls import page_urls as task_pages

# The pages of people. Nobody signs up, and there is no mail: of allauth only these are reachable.
account_pages: list[URLPattern] = [
    path("account/login", account.login, name="account_login"),
    path("account/logout", account.logout, name="account_logout"),
    path("account/password/change", account.password_change, name="account_change_password"),
    path("account/reauthenticate", account.reauthenticate, name="account_reauthenticate"),
    path("first-run/<str:token>", views.first_admin),
]
fleet_pages: list[URLPattern] = [
    path("fleet/freeze", views.freeze),
    path("fleet/thaw", views.thaw),
    path("fleet/banner", views.fleet_banner),
    path("fleet/switch", views.fleet_switch),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.prometheus),
    path("admin/", admin.site.urls),
    *account_pages,
    *fleet_pages,
    *agent_pages,
    *task_pages,
]

handler403 = "mission_control.views.forbidden"
handler404 = "mission_control.views.not_found"
handler500 = "mission_control.views.server_error"
