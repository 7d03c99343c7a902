# The server in a container, as one process. With a root that can't be written to:
#
#   docker build -t tornado-sse .
#   docker run --read-only --cap-drop ALL -p 8080:8080 -e TORNADO_SSE_JWT_SECRET tornado-sse
#
# The base is pinned to a Python and a Debian, and gets their patches with each build. For the same image each time
# name its digest, too: --build-arg PYTHON=3.13-slim-bookworm@sha256:...

ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY tornado_sse tornado_sse
RUN python -m venv --without-pip /opt/tornado-sse \
    && pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && pip --python /opt/tornado-sse install --no-cache-dir "$(ls /wheels/*.whl)[nats,redis]"

FROM python:${PYTHON}
COPY --from=build /opt/tornado-sse /opt/tornado-sse
# Metrics and health have no password: publish 8080 alone, and let only your monitoring into the network of 8081.
ENV PATH=/opt/tornado-sse/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TORNADO_SSE_HOST=0.0.0.0 \
    TORNADO_SSE_ADMIN_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/healthz', timeout=2)"]
ENTRYPOINT ["tornado-sse"]
CMD ["serve"]
