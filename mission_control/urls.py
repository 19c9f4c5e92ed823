"""The roof for addresses: sees every app. Websockets, event streams and waiting are in asgi.py."""

from allauth.account import views as account
from allauth.mfa.base import views as second_step
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as authenticator
from allauth.mfa.webauthn import views as passkeys
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.cache import never_cache

from agents.urls import api_urls as agent_calls
from agents.urls import page_urls as agent_pages
from mission_control import (
    addresses,  # noqa: F401 - knows what <number:…> is
    api,
    circuit_views,
    endpoints,
    health,
    loops_api,
    onboarding,
    onboarding_views,
    views,
)
from mission_control.accounts import account_views, people_views
from mission_control.keeping import backup_views
from mission_control.outbound import channels_api, channels_views, notifications_api, webhook_views, webhooks_api
from tasks.protocols import a2a_api, otlp_api
from tasks.protocols.mcp_api import mcp
from tasks.urls import api_urls as task_calls
from tasks.urls import page_urls as task_pages
from ventures.urls import api_urls as venture_calls

# The pages of people. Nobody signs up, and there is no mail: of allauth only these are reachable.
account_pages: list[URLPattern] = [
    path("account", account_views.account, name="mfa_index"),
    path("account/second-step", account_views.add_second_step),
    path("account/sign-out-everywhere", account_views.sign_out_everywhere),
    path("account/login", account.login, name="account_login"),
    path("account/login/second-step", second_step.authenticate, name="mfa_authenticate"),
    path("account/login/passkey", never_cache(passkeys.login_webauthn), name="mfa_login_webauthn"),
    path("account/logout", account.logout, name="account_logout"),
    path("account/password/change", account.password_change, name="account_change_password"),
    path("account/reauthenticate", account.reauthenticate, name="account_reauthenticate"),
    path("account/reauthenticate/code", second_step.reauthenticate, name="mfa_reauthenticate"),
    path("account/reauthenticate/passkey", passkeys.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("account/authenticator/add", never_cache(authenticator.activate_totp), name="mfa_activate_totp"),
    path("account/authenticator/remove", authenticator.deactivate_totp, name="mfa_deactivate_totp"),
    path("account/recovery-codes", never_cache(recovery_codes.view_recovery_codes), name="mfa_view_recovery_codes"),
    path("account/recovery-codes/new", recovery_codes.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("account/passkeys/add", never_cache(passkeys.add_webauthn), name="mfa_add_webauthn"),
    path(
        "account/passkeys/<number:pk>/remove",
        passkeys.RemoveWebAuthnView.as_view(success_url="/account"),
        name="mfa_remove_webauthn",
    ),
    path("first-run/<str:token>", views.first_admin),
    path("welcome/<str:token>", people_views.welcome),
]
shell_pages: list[URLPattern] = [
    path("fleet/freeze", views.freeze),
    path("fleet/thaw", views.thaw),
    path("fleet/banner", views.fleet_banner),
    path("fleet/switch", views.fleet_switch),
    path("notifications/bell", views.bell),
    path("notifications/recent", views.recent_notifications),
    path("notifications/read", views.read_notifications),
]
settings_pages: list[URLPattern] = [
    path("settings", views.settings_frame),
    path("settings/notifications", channels_views.notifications_page),
    path("settings/notifications/channels", channels_views.list_part),
    path("settings/notifications/add", channels_views.add),
    path("settings/notifications/times", channels_views.choose_times),
    path("settings/notifications/<slug:channel>/change", channels_views.change),
    path("settings/notifications/<slug:channel>/test", channels_views.test),
    path("settings/notifications/<slug:channel>/remove", channels_views.remove),
    path("service-worker.js", channels_views.service_worker),
    path("manifest.webmanifest", channels_views.manifest),
    path("settings/users", people_views.users),
    path("settings/users/list", people_views.list_part),
    path("settings/users/second-step", people_views.require_second_step),
    path("settings/users/invite", people_views.invite),
    path("settings/users/<number:number>/link", people_views.renew_link),
    path("settings/users/<number:number>/second-step/remove", people_views.remove_second_step),
    path("settings/users/<number:number>/role", people_views.change_role),
    path("settings/users/<number:number>/deactivate", people_views.deactivate),
    path("settings/users/<number:number>/reactivate", people_views.reactivate),
    path("settings/data/backup", backup_views.download),
    path("settings/webhooks", webhook_views.hooks),
    path("settings/webhooks/new", webhook_views.create),
    path("settings/webhooks/<slug:code>", webhook_views.hook),
    path("settings/webhooks/<slug:code>/change", webhook_views.change),
    path("settings/webhooks/<slug:code>/switch", webhook_views.switch),
    path("settings/webhooks/<slug:code>/rotate", webhook_views.rotate),
    path("settings/webhooks/<slug:code>/test", webhook_views.test),
    path("settings/webhooks/<slug:code>/redeliver", webhook_views.redeliver_range),
    path("settings/webhooks/<slug:code>/delete", webhook_views.delete),
    path("settings/webhooks/<slug:code>/deliveries/<slug:message>/redeliver", webhook_views.redeliver),
    path("settings/circuits", circuit_views.circuits),
    path("settings/circuits/<slug:waker>/<slug:woken>/reset", circuit_views.reset),
]
fleet_calls: list[URLPattern] = [
    path("fleet/freeze", endpoints.resource(api.read_freeze, api.freeze)),
    path("fleet/thaw", endpoints.resource(api.read_thaw, api.thaw)),
    path("tickets", endpoints.resource(api.create_ticket)),
]
circuit_calls: list[URLPattern] = [
    path("circuits", endpoints.resource(loops_api.list_circuits)),
    path("circuits/<slug:waker>/<slug:woken>/reset", endpoints.resource(loops_api.reset_circuit)),
]
webhook_calls: list[URLPattern] = [
    path("webhooks", endpoints.resource(webhooks_api.list_webhooks, webhooks_api.create_webhook)),
    path(
        "webhooks/<slug:hook>",
        endpoints.resource(webhooks_api.read_webhook, webhooks_api.change_webhook, webhooks_api.delete_webhook),
    ),
    path("webhooks/<slug:hook>/rotate", endpoints.resource(webhooks_api.rotate_secret)),
    path("webhooks/<slug:hook>/test", endpoints.resource(webhooks_api.test_webhook)),
    path("webhooks/<slug:hook>/redeliver", endpoints.resource(webhooks_api.redeliver_range)),
    path("webhooks/<slug:hook>/deliveries", endpoints.resource(webhooks_api.list_deliveries)),
    path("webhooks/<slug:hook>/deliveries/<slug:message>/redeliver", endpoints.resource(webhooks_api.redeliver_one)),
]
notification_calls: list[URLPattern] = [
    path("notifications", endpoints.resource(notifications_api.list_notifications)),
    path("notifications/read", endpoints.resource(notifications_api.mark_notifications_read)),
    path("notifications/<number:number>/read", endpoints.resource(notifications_api.mark_notification_read)),
    path("notifications/schedule", endpoints.resource(channels_api.read_times, channels_api.change_times)),
    path("notifications/push-key", endpoints.resource(channels_api.read_push_key)),
    path("notifications/channels", endpoints.resource(channels_api.list_channels, channels_api.add_channel)),
    path(
        "notifications/channels/<slug:channel>",
        endpoints.resource(channels_api.read_channel, channels_api.change_channel, channels_api.remove_channel),
    ),
    path("notifications/channels/<slug:channel>/test", endpoints.resource(channels_api.test_channel)),
]
# Literal addresses win over ids: those of tasks come first, they hold agents/heartbeat.
api_calls: list[URLPattern] = [
    *task_calls,
    *agent_calls,
    *venture_calls,
    *fleet_calls,
    *webhook_calls,
    *circuit_calls,
    *notification_calls,
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.prometheus),
    *(path(name, onboarding_views.text, {"name": name}) for name in onboarding.PAGES),
    path("skill.json", onboarding_views.skill_json),
    path("guide.md", onboarding_views.guide),
    path("mctl", onboarding_views.mctl),
    path("mcp", mcp),
    path("a2a", a2a_api.a2a),
    path("a2a/message:send", a2a_api.message_send),
    path("a2a/tasks/<str:code>", a2a_api.one_task),
    path(".well-known/agent-card.json", a2a_api.card),
    path("v1/metrics", otlp_api.metrics),
    path("v1/logs", otlp_api.logs),
    path("api/schema", api.Schema.as_view(), name="schema"),
    path("api/docs", api.Docs.as_view(), name="docs"),
    path("api/v1/", include(api_calls)),
    path("api/", include(api_calls)),
    re_path(r"^api(/|$)", endpoints.no_such_route),
    path("admin/", admin.site.urls),
    *account_pages,
    *shell_pages,
    *settings_pages,
    *agent_pages,
    *task_pages,
]

handler400 = "mission_control.endpoints.bad_request"
handler403 = "mission_control.views.forbidden"
handler404 = "mission_control.views.not_found"
handler500 = "mission_control.views.server_error"
