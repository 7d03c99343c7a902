# make run: a server to try out.  make test: every test.  make help: the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REAL := tests/integration tests/workers

.DEFAULT_GOAL := help
.PHONY: help install run test test-units test-real forget-coverage chaos rolling ops lint format readme \
	dashboards manifests pictures bench scale clean client client-soak abuse fuzz audit sbom soak

help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 12

install: $(VENV)/installed ## A virtual environment with tornado-sse in it

run: install ## A server to try out; prints a link to a page where events arrive
	$(BIN)/tornado-sse serve --dev

test: test-units test-real ## Every test, with coverage: make test, or on two cores make --jobs 2 test
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

test-units test-real: forget-coverage
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m coverage run -m pytest $(PARTS)

test-units: PARTS = tests $(REAL:%=--ignore %)
test-real: PARTS = $(REAL)

forget-coverage: $(VENV)/installed-dev
	$(BIN)/python -m coverage erase

chaos: $(VENV)/installed-dev ## Three minutes of kills, stalls and restarts under load: make chaos, or make chaos ARGS="--seed 1f"
	PYTHONPATH=tests $(BIN)/python tests/integration/chaos.py $(ARGS)

rolling: $(VENV)/installed-dev ## A rolling deploy under 5,000 clients: make rolling, or make rolling ARGS="--engine redis"
	PYTHONPATH=tests $(BIN)/python tests/integration/rolling.py $(ARGS)

ops: $(VENV)/installed-dev ## What operations rely on, with real programs and real faults: some minutes
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m ops

abuse: $(VENV)/installed-dev ## Attacks at full size: about an hour; make abuse ARGS="-k ghosts" for one
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m abuse tests/abuse $(ARGS)

fuzz: $(VENV)/installed-fuzz ## Fuzzing, a minute for each target: make fuzz, or make fuzz ARGS="request -max_total_time=600"
	PYTHONPATH=tests:tests/integration $(BIN)/python tests/fuzz/fuzz.py $(ARGS)
soak: $(VENV)/installed-dev ## 15,000 clients that come and go for half an hour: make soak, or make soak ARGS="--minutes 5"
	PYTHONPATH=tests:benchmarks $(BIN)/python tests/integration/soak.py $(ARGS)

pictures: $(VENV)/installed-dev ## The pictures in docs/images: demo, console, dashboard; some minutes
	PYTHONPATH=tests $(BIN)/python tests/integration/pictures.py
	PYTHONPATH=tests $(BIN)/python tests/integration/console_pictures.py
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=.:tests:tests/integration $(BIN)/python tests/integration/ops_pictures.py

lint: $(VENV)/installed-dev ## Lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

readme: $(VENV)/installed-dev ## The table of settings in README, from their declaration
	$(BIN)/python tests/readme.py

dashboards: $(VENV)/installed-dev ## grafana/dashboards, from grafana/*.py
	$(BIN)/python -m grafana.dashboard

manifests: ## The plain Kubernetes manifests, from the chart; wants helm
	helm template --kube-version 1.33.0 event-streams deploy/helm/tornado-sse --values deploy/kubernetes/values.yaml \
		> deploy/kubernetes/tornado-sse.yaml

bench: $(VENV)/installed-bench ## Measure against the limit: make bench, or make bench SECTIONS="fanout latency"
	$(BIN)/python benchmarks/run.py $(SECTIONS)

scale: $(VENV)/installed-dev ## 100,000 streams on one machine: make scale, or make scale ARGS="--streams 5000"
	$(BIN)/python benchmarks/scale.py $(ARGS)
	$(BIN)/python benchmarks/plan.py --write

client: client/node_modules/.package-lock.json ## The browser client, from its sources (wants Node)
	cd client && npm run check && npm test && node build.mjs ../tornado_sse/web

client-soak: $(VENV)/installed-dev ## The browser client in Chromium, for longer: 10,000 events, 12 tabs, 100 cuts
	CLIENT_SOAK=true $(BIN)/python -m pytest tests/integration/test_client_tabs.py

audit: $(VENV)/installed-supply build/runtime/installed ## Known vulnerabilities of what is installed along; wants the registries' own data
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement build/runtime/installed $(ARGS)
	npm audit --prefix client

sbom: $(VENV)/installed-supply build/runtime/installed ## A bill of materials (CycloneDX): dist/sbom.json
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --output-reproducible --output-file dist/sbom.json build/runtime

client/node_modules/.package-lock.json: client/package-lock.json
	npm ci --prefix client --no-audit --no-fund
	touch $@

clean: ## Remove what the other targets made
	rm -rf $(VENV) build .fuzz .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV), once ..."
	@$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/installed
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --group dev
	touch $@

$(VENV)/installed-bench: pyproject.toml $(VENV)/installed
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --group bench
	touch $@

$(VENV)/installed-fuzz: pyproject.toml $(VENV)/installed-dev
	$(BIN)/pip install --quiet --group fuzz
	touch $@

$(VENV)/installed-supply: pyproject.toml $(VENV)/installed
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --group supply
	touch $@

build/runtime/installed: pyproject.toml | $(BIN)/python
	$(PYTHON) -m venv --clear --without-pip build/runtime
	$(BIN)/pip --python build/runtime install --quiet ".[cluster,redis,otel]"
	$(BIN)/pip --python build/runtime freeze --exclude tornado-sse > $@
