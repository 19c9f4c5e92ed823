# One image for the server and the worker; data and settings come from outside (compose.yaml, docs/kubernetes.yaml).
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data \
    STATIC_ROOT=/tmp/static \
    LOG_JSON=true

RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin mission \
    && install -d -o mission -g mission /data

WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r requirements.txt \
    && pip check

COPY manage.py ./
COPY mission_control ./mission_control
COPY ventures ./ventures
COPY agents ./agents
COPY tasks ./tasks
COPY templates ./templates
COPY static ./static
COPY docs/agent-guide.md ./docs/
RUN python -m compileall -q mission_control ventures agents tasks

USER mission
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz', timeout=4)"]
CMD ["python", "manage.py", "serve"]
