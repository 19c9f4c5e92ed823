"""Every setting of the product, read from the environment. What is dangerous together is refused in checks.py."""

import os
import secrets
from pathlib import Path
from typing import Any

import environ
import structlog
from whitenoise.compress import Compressor

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.FileAwareEnv()

DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "data"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)


KEPT_SECRETS: dict[str, Path | None] = {}  # variable → its file, None when the environment gives it; backups hold them


def _kept_secret(variable: str, filename: str) -> str:
    """The secret from the environment, else from a file under DATA_DIR that is made on first use (mode 0600)."""
    given = env.str(variable, default="")
    KEPT_SECRETS[variable] = None if given else DATA_DIR / filename
    if given:
        return given
    path = DATA_DIR / filename
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
    return path.read_text().strip()


# ── who we are and where ────────────────────────────────────────────────────────────────────────────────────────────
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = _kept_secret("SECRET_KEY", "secret_key")
LOG_KEY = _kept_secret("LOG_KEY", "log_key")  # seals the log; a key of its own so that neither can stand for the other
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TRUST_PROXY = env.bool("TRUST_PROXY", default=False)  # X-Forwarded-Proto and -For are believed only then
DEMO = env.bool("DEMO", default=False)
OPEN_MODE = env.bool("MISSION_CONTROL_OPEN", default=False)
if PUBLIC_URL.startswith(("http://", "https://")):
    _public_host = PUBLIC_URL.split("://", 1)[1].split("/")[0].rsplit(":", 1)[0]
    if _public_host not in ALLOWED_HOSTS:
        ALLOWED_HOSTS.append(_public_host)
    if PUBLIC_URL not in CSRF_TRUSTED_ORIGINS:
        CSRF_TRUSTED_ORIGINS.append(PUBLIC_URL)

# ── the apps; imports go from right to left only: mission_control ← ventures ← agents ← tasks ───────────────────────
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "channels",
    "csp",
    "django_htmx",
    "django_structlog",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "mission_control",
    "ventures",
    "agents",
    "tasks",
]
MIDDLEWARE = [
    "mission_control.metrics.CountRequests",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "mission_control.middleware.SecondStepMiddleware",
    "mission_control.middleware.RefusalMiddleware",
]
ROOT_URLCONF = "mission_control.urls"
APPEND_SLASH = False
WSGI_APPLICATION = "mission_control.asgi.wsgi_application"
ASGI_APPLICATION = "mission_control.asgi.application"
AUTH_USER_MODEL = "mission_control.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tasks.views.shell_context",
            ],
        },
    }
]

# ── database ────────────────────────────────────────────────────────────────────────────────────────────────────────
SQLITE_FILE = DATA_DIR / "mission-control.sqlite3"
_database: dict[str, Any] = env.db_url("DATABASE_URL", default=f"sqlite:///{SQLITE_FILE}")
IS_SQLITE = "sqlite" in _database["ENGINE"]
THREADS = env.int("THREADS", default=8 if IS_SQLITE else 16)  # request threads of one server process
if IS_SQLITE:
    # IMMEDIATE takes the write lock at BEGIN: row locks do not exist here, so this is what makes a claim atomic.
    _database["CONN_MAX_AGE"] = None
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;PRAGMA mmap_size=134217728;"
            "PRAGMA journal_size_limit=27103364;PRAGMA cache_size=-16000;PRAGMA temp_store=MEMORY;"
        ),
    }
    _database["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
else:
    # Each of our threads keeps its connection: there are THREADS of them and a handful for the live path and the chores,
    # however many requests and streams are open. A pool would set a connection up anew for every request.
    _database["CONN_MAX_AGE"] = None
    # The statements of sql.py are prepared and planned once a connection; behind a pooler that hands a connection to
    # another client after each transaction (PgBouncer) that has to be off. The ORM's are never prepared.
    PREPARED_STATEMENTS = env.bool("PREPARED_STATEMENTS", default=True)
    _database["OPTIONS"] = {
        **_database.get("OPTIONS", {}),
        "prepare_threshold": 2 if PREPARED_STATEMENTS else None,
        "options": "-c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000"
        " -c plan_cache_mode=force_generic_plan",
    }
DATABASES = {"default": _database}
DATABASE_WAIT_SECONDS = env.int("DATABASE_WAIT_SECONDS", default=15)  # at the start, for one that is still starting

# ── live path and cache: in memory on one machine, Redis or Valkey beyond it ────────────────────────────────────────
REDIS_URL = env.str("REDIS_URL", default="")
if REDIS_URL:
    # socket_timeout None: redis-py 8 made 5 s the default, which kills idle sockets (channels_redis#422).
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None, "socket_connect_timeout": 2}]},
        }
    }
    CACHES = {"default": {"BACKEND": "mission_control.cache.ForgivingRedisCache", "LOCATION": REDIS_URL}}
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# ── login ───────────────────────────────────────────────────────────────────────────────────────────────────────────
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_REDIRECT_URL = "/"
LOGIN_URL = "/account/login"
ACCOUNT_ADAPTER = "mission_control.accounts.login.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_LOGOUT_REDIRECT_URL = "/account/login"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ADAPTER = "mission_control.accounts.second_step.SecondStepAdapter"
MFA_TOTP_ISSUER = "Mission Control"
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_FORMS = {
    "authenticate": "mission_control.accounts.second_step.CodeForm",
    "reauthenticate": "mission_control.accounts.second_step.CodeAgainForm",
    "authenticate_webauthn": "mission_control.accounts.second_step.PasskeyForm",
    "reauthenticate_webauthn": "mission_control.accounts.second_step.PasskeyAgainForm",
    "login_webauthn": "mission_control.accounts.second_step.PasskeyAloneForm",
    "add_webauthn": "mission_control.accounts.second_step.NewPasskeyForm",
}

# ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────────
SECURE_COOKIES = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
CSRF_FAILURE_VIEW = "mission_control.views.csrf_failure"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 30 * 24 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if TRUST_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    ALLAUTH_TRUSTED_PROXY_COUNT = 1
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "manifest-src": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
FILE_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
MAX_UPLOAD_BYTES = env.int("MAX_UPLOAD_BYTES", default=50_000_000)
OUTGOING_ALLOWED = env.list("OUTGOING_ALLOWED", default=[])  # host:port of private addresses that we may call
MEDIA_ROOT = DATA_DIR / "files"

# ── mail; without both nobody is told by e-mail ─────────────────────────────────────────────────────────────────────
EMAIL_URL = env.str("EMAIL_URL", default="")  # smtp+tls://user:password@host:587
MAIL_FROM = env.str("MAIL_FROM", default="") if EMAIL_URL else ""
if EMAIL_URL:
    _mail = env.email_url("EMAIL_URL")
    EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = _mail["EMAIL_BACKEND"], _mail["EMAIL_HOST"], _mail["EMAIL_PORT"]
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail["EMAIL_HOST_USER"], _mail["EMAIL_HOST_PASSWORD"]
    EMAIL_USE_TLS, EMAIL_USE_SSL = bool(_mail.get("EMAIL_USE_TLS")), bool(_mail.get("EMAIL_USE_SSL"))
EMAIL_TIMEOUT = 15
DEFAULT_FROM_EMAIL = SERVER_EMAIL = MAIL_FROM or "nobody@localhost"

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(DATA_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "mission_control.static.HashedStaticFiles"
    },
}
WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = (*Compressor.SKIP_COMPRESS_EXTENSIONS, "map", "ico", "txt")

# ── REST ────────────────────────────────────────────────────────────────────────────────────────────────────────────
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["mission_control.rest.CallerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["mission_control.rest.MayRead"],
    "DEFAULT_RENDERER_CLASSES": ["mission_control.rest.Renderer"],
    "DEFAULT_PARSER_CLASSES": ["mission_control.rest.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "mission_control.rest.answer_exception",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Mission Control",
    "DESCRIPTION": "Agents claim work, report it and hand it in. People watch and steer.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "PREPROCESSING_HOOKS": ["mission_control.schema.canonical_paths"],
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "TaskStatus": "tasks.vocabulary.STATUSES",
        "VentureStatus": "ventures.models.Venture.STATUSES",
        "DeliverableType": "tasks.vocabulary.DELIVERABLE_TYPES",
        "SessionState": "tasks.vocabulary.SESSION_STATES",
        "SessionType": "tasks.vocabulary.SESSION_TYPES",
        "StepState": "tasks.vocabulary.STEP_STATES",
        "ActorType": "mission_control.actors.TYPES",
        "BlockKind": "tasks.vocabulary.BLOCK_KINDS",
        "ContextKind": "tasks.vocabulary.CONTEXT_KINDS",
        "HandOverWay": "tasks.vocabulary.HAND_OVER_WAYS",
        "MergeState": "tasks.dispatching.merging.STATES",
    },
    "PATH_CONVERTER_OVERRIDES": {
        "code": {"type": "string", "pattern": "^[a-z0-9]{8}$"},
        "slug": {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"},
        "number": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    },
}

# ── work ────────────────────────────────────────────────────────────────────────────────────────────────────────────
LEASE_SECONDS = env.int("LEASE_SECONDS", default=300)
SIMPLE_LEASE_SECONDS = env.int("SIMPLE_LEASE_SECONDS", default=4 * 3600)  # /api clients never send a heartbeat
LEASE_SECONDS_MIN = env.int("LEASE_SECONDS_MIN", default=15)  # lower only to test faults: the sweep runs every 5 s
LEASE_SECONDS_MAX = 24 * 3600
HAND_OVER_SECONDS = env.int("HAND_OVER_SECONDS", default=60)  # so long each way of a hand-over is waited for
MODELS_BY_PRIORITY = env.dict("MODELS_BY_PRIORITY", default={})  # urgent=…,high=…; else the agent's own model
SWEEP_SECONDS = 5
WAKE_TURNS = env.int("WAKE_TURNS", default=8)  # so often may one agent wake another in one chain without a person
WAKE_LIMIT = env.int("WAKE_LIMIT", default=600)  # and so often within ten minutes
IDLE_WARNING_SECONDS = env.int("IDLE_WARNING_SECONDS", default=600)
AGENTS_ON_THE_FLY = env.bool("AGENTS_ON_THE_FLY", default=True)  # an unknown sub-agent's name makes an agent

# ── language, time, logs ────────────────────────────────────────────────────────────────────────────────────────────
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "lines": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processor": structlog.processors.JSONRenderer()
            if env.bool("LOG_JSON", default=False)
            else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
            "foreign_pre_chain": [
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso"),
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "uvicorn": {"level": "WARNING"},
        "channels_redis": {"level": "CRITICAL"},  # live.py says when the layer is gone, once
    },
}
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
