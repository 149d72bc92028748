# Two images: the operator, which needs no PostgreSQL, and the agent, which carries
# the server and the client programs of one major release.
#
#   docker build --target operator -t pgwarden-operator .
#   docker build --target agent --build-arg PG_MAJOR=17 -t pgwarden-agent:17 .
#   docker build --target agent --build-arg PG_MAJOR=18 -t pgwarden-agent:18 .

ARG PG_MAJOR=17
# Debian's own packages of PostgreSQL: 17 is in trixie, 18 so far in testing only.
ARG DEBIAN_FOR_17=debian:trixie-slim
ARG DEBIAN_FOR_18=debian:testing-slim

FROM ${DEBIAN_FOR_17} AS debian-for-17
ENV LANG=C.UTF-8
FROM ${DEBIAN_FOR_18} AS debian-for-18
ENV LANG=C.UTF-8

# --- What both images share -----------------------------------------------------------

FROM debian-for-${PG_MAJOR} AS dependencies
RUN if ! command -v pip3 >/dev/null; then \
        apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends python3 python3-pip ca-certificates \
        && rm -rf /var/lib/apt/lists/*; \
    fi
COPY requirements/runtime.txt /tmp/runtime.txt
# Hash-locked, from wheels only: what is installed was reviewed, and nothing of it runs here.
# The two secrets are optional: pip's settings and a certificate authority, for builds behind a proxy.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/etc/build-ca.crt \
    python3 -m pip install --quiet --no-cache-dir --no-deps --require-hashes --only-binary=:all: \
        --root-user-action=ignore --no-compile --target=/opt/pgwarden/lib -r /tmp/runtime.txt \
    && find /opt/pgwarden/lib -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} + \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/pgwarden/lib

# Byte code is made here once, trusted without a look at the source: a container with a
# read-only root could not keep it and would compile at every start.
FROM dependencies AS code
COPY operator/pgwarden /opt/pgwarden/app/pgwarden
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/pgwarden/app

# --- The operator ---------------------------------------------------------------------

FROM debian-for-${PG_MAJOR} AS operator
RUN if ! command -v python3 >/dev/null; then \
        apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends python3 \
        && rm -rf /var/lib/apt/lists/*; \
    fi; \
    printf '%s\n' /opt/pgwarden/app /opt/pgwarden/lib > /usr/lib/python3/dist-packages/pgwarden.pth; \
    printf '%s\n' '#!/bin/sh' 'exec /usr/bin/python3 -P -m pgwarden "$@"' > /usr/local/bin/pgwarden; \
    chmod 0755 /usr/local/bin/pgwarden
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/pgwarden"]
CMD ["operator"]
# What changes most often comes last, so that a changed line of code costs one small layer.
COPY --from=dependencies /opt/pgwarden/lib /opt/pgwarden/lib
COPY --from=code /opt/pgwarden/app /opt/pgwarden/app

# --- One major release of PostgreSQL, as Debian packages it ---------------------------

FROM debian-for-${PG_MAJOR} AS postgres
ARG PG_MAJOR
# The user first, so that it has the number that is usual in containers. Debian would also
# make a database at installation; nobody wants one inside an image.
RUN groupadd --system --gid 999 postgres \
    && useradd --system --gid 999 --uid 999 --home-dir /var/lib/postgresql --shell /bin/sh postgres \
    && mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && if [ ! -x /usr/lib/postgresql/${PG_MAJOR}/bin/postgres ]; then \
        apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold \
            postgresql-${PG_MAJOR} postgresql-client-${PG_MAJOR} \
        && rm -rf /var/lib/apt/lists/*; \
    fi \
    && mkdir -p /var/lib/postgresql /var/run/postgresql \
    && chown postgres:postgres /var/lib/postgresql && chmod 1777 /var/run/postgresql
ENV PATH=/usr/lib/postgresql/${PG_MAJOR}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 999:999

# --- The agent ------------------------------------------------------------------------

FROM postgres AS agent
USER 0:0
# libnss-wrapper and the user entries: initdb wants a name for the number it runs under, and a
# restore runs under the number that the workload's files belong to, whatever that is.
RUN if ! command -v python3 >/dev/null || ! command -v pgbouncer >/dev/null; then \
        apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends \
            python3 ca-certificates pgbouncer age zstd libnss-wrapper \
        && rm -rf /var/lib/apt/lists/*; \
    fi; \
    for id in 26 70 1000 1001 65532; do \
        getent passwd "$id" >/dev/null || echo "uid$id:x:$id:$id::/tmp:/bin/sh" >> /etc/passwd; \
    done; \
    printf '%s\n' /opt/pgwarden/app /opt/pgwarden/lib > /usr/lib/python3/dist-packages/pgwarden.pth; \
    printf '%s\n' '#!/bin/sh' 'exec /usr/bin/python3 -P -m pgwarden "$@"' > /usr/local/bin/pgwarden; \
    chmod 0755 /usr/local/bin/pgwarden
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/pgwarden"]
CMD ["agent"]
# What changes most often comes last, so that a changed line of code costs one small layer.
COPY --from=dependencies /opt/pgwarden/lib /opt/pgwarden/lib
COPY --from=code /opt/pgwarden/app /opt/pgwarden/app
