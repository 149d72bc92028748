# The habits of this project; `make help` lists them. Everything they need, they install or build.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.PHONY: help demo test unit integration e2e chaos lint generate bench cluster-up cluster-down image docs install \
	db-migrate-status db-migrate-up db-migrate-down

PYTHON_RUN := PYTHONPATH=operator:. .venv/bin/python
CLUSTER_ENV := eval "$$(hack/cluster/cluster env)"; export PATH=$(CURDIR)/.venv/bin:$$PATH
PYTEST := $(PYTHON_RUN) -m pytest --durations=15 $(PYTEST_ARGS)
# For the db-migrate-* habits: DSN and SOURCE, or MIGRATION (and NAMESPACE) for a DatabaseMigration.
NAMESPACE ?= default
TO ?=

help: ## This list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-20s %s\n", $$1, $$2 }'

demo: .venv ## The main job on a real cluster: migrations, a backup, a disaster, a restore
	@$(PYTHON_RUN) -m hack.demo

test: lint unit integration e2e ## Everything: lint, unit, integration, and end to end on a real cluster

unit: .venv ## Tests of what is pure
	@$(PYTEST) tests/unit -n 2

integration: .venv cluster-up ## Tests against real PostgreSQL 17 and 18 and a real S3 server, on loopback
	@hack/test-packages.sh
	$(CLUSTER_ENV)
	$(PYTEST) tests/integration -m "not long" -n 3 --dist loadfile

e2e: .venv cluster-up image ## Tests on the real cluster, with pgwarden installed through its chart
	@hack/test-packages.sh
	$(CLUSTER_ENV)
	$(PYTEST) tests/e2e -m "not long"

chaos: .venv cluster-up image ## All faults and long restores; `make test` runs them on the newest PostgreSQL only
	@hack/test-packages.sh
	$(CLUSTER_ENV)
	$(PYTEST) tests/integration -m "chaos or long" -n 3 --dist loadfile
	$(PYTEST) tests/e2e -m "chaos or long"

lint: .venv cluster-up ## All checks that run nothing of ours: style, types, walls, charts, schemas, drift
	@$(CLUSTER_ENV)
	hack/lint.sh

generate: .venv ## CRDs, RBAC, manifests, health rules and the API reference, from the models
	@$(PYTHON_RUN) -m hack.generate

bench: install ## Measurements, side by side with peers
	@hack/test-packages.sh
	$(CLUSTER_ENV)
	$(PYTHON_RUN) -m hack.bench

cluster-up: ## A real Kubernetes cluster on this machine
	@hack/cluster/cluster up

cluster-down: ## Ends it and leaves nothing of it behind
	@hack/cluster/cluster down

image: ## The images of operator and agents, loaded into the cluster
	@hack/cluster/cluster image

install: .venv cluster-up image ## pgwarden, installed through its chart with the images just built
	@$(CLUSTER_ENV)
	helm upgrade --install pgwarden charts/pgwarden --namespace pgwarden-system --create-namespace \
		--values hack/values-dev.yaml --take-ownership --force-conflicts --set crds.adopt=true --wait --timeout 3m

docs: .venv generate ## The documentation as a site, its generated part brought up to date
	@hack/docs.sh
	echo "the documentation stands in site/index.html"

db-migrate-status: .venv ## Where a database stands: DSN=... SOURCE=dir, or MIGRATION=name NAMESPACE=...
	@hack/db-migrate.sh status
db-migrate-up: .venv ## Brings it up: as above; TO=version stops earlier
	@hack/db-migrate.sh up
db-migrate-down: .venv ## Takes it down: as above; TO=version
	@hack/db-migrate.sh down

export DSN SOURCE MIGRATION NAMESPACE TO

.venv: requirements/dev.txt requirements/uv.txt hack/python.sh
	@hack/python.sh
	touch .venv
