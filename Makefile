# Two commands do everything on a fresh machine with Python 3.11: `make run` and `make test`.
PYTHON ?= python3.11
PROFILE ?= market
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FIND_LINKS := $(foreach folder,$(PIP_FIND_LINKS),--find-links $(folder))
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
# Where it is set, every process compiles our modules and tests anew.
unexport PYTHONDONTWRITEBYTECODE

LINT := lint-types lint-style lint-imports lint-rendered

.PHONY: run serve dashboards test check fuzz fuzz-serve audit lint $(LINT) format install ui cluster cluster-install dvc render bench bench-quality bench-codes-real bench-rolling bench-ope bench-serve lock clean help

help: ## show what there is
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

run: $(STAMP) ## run the pipeline of PROFILE and publish what the gate lets through
	@tessera run --profile $(PROFILE) $(if $(DATA),--data "$(DATA)") $(if $(CUT),--cut $(CUT)) $(if $(OVERRIDE),--override-reason "$(OVERRIDE)")

serve: $(STAMP) ## serve what PROFILE published until Ctrl-C; PORT=8000
	@tessera serve --profile $(PROFILE) $(if $(PORT),--port $(PORT))

dashboards: $(STAMP) ## Evidently's dashboards of the days that `tessera monitor` watched; PORT=8090
	@tessera dashboards --profile $(PROFILE) $(if $(PORT),--port $(PORT))

test: $(STAMP) ## run all tests; on three processes for two cores, as some wait, the longest files first
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: $(STAMP) ## nightly: 5,000 made-up files a dialect and a mark, written, damaged and read back (the tests take 200)
	@TESSERA_FUZZ=$(or $(EXAMPLES),5000) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist load tests/stages/ingest/test_dialects_fuzz.py tests/stages/ingest/test_marks_fuzz.py $(ARGS)

fuzz-serve: $(STAMP) ## nightly: 10,000 made-up requests to the service and more (the tests take 240)
	@TESSERA_FUZZ=$(or $(EXAMPLES),850) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist load tests/serve/test_fuzz.py $(ARGS)

audit: $(STAMP) ## look the lock up in a database of known faults; needs the network
	@$(BIN)/python -m benchmarks.audit

lint: $(STAMP) ## ruff, mypy strict, import-linter, rendered files up to date; two at a time
	@$(MAKE) --no-print-directory --output-sync -j 2 $(LINT)

lint-types:
	@mypy

lint-style:
	@ruff check . && ruff format --check .

lint-imports:
	@lint-imports

lint-rendered:
	@tessera render --check

check: lint test ## what must pass before a commit reaches others

format: $(STAMP) ## format the code
	@ruff format . && ruff check --fix .

ui: $(STAMP) ## start Airflow and MLflow on this machine; Ctrl-C stops both
	@tessera ui $(if $(PORT),--port $(PORT)) $(if $(MLFLOW_PORT),--mlflow-port $(MLFLOW_PORT))

cluster: cluster-install ## run the pipeline of PROFILE with PostgreSQL, Redis and two Celery workers on this machine
	@tessera cluster --profile $(PROFILE) $(if $(DATA),--data "$(DATA)") $(if $(CUT),--cut $(CUT))

cluster-install: $(VENV)/.cluster ## put what a worker of a cluster needs on top of the environment

dvc render: $(STAMP) ## render dvc.yaml, the suites and the facts in the docs
	@tessera render

bench: $(STAMP) ## measure what needs no official data into benchmarks/results/
	@$(BIN)/python -m benchmarks

bench-quality: $(STAMP) ## rank real data: SET=movielens, movielens-no-time, movielens-large, movielens-no-weights, movielens-shared, beauty, far-trans-2020, far-trans-2021 (on sale; with -published: all assets); resumes
	@$(BIN)/python -m benchmarks.quality $(SET) $(if $(SEEDS),--seeds $(SEEDS))
	@$(BIN)/python -m benchmarks.render

bench-ope: export OMP_NUM_THREADS := 1
bench-ope: $(STAMP) ## coverage of the off-policy bounds on planted truth, false promotions, drift, seeds, power, caps; PROCESSES=2; resumes
	@set -e; for part in ope_volume ope_caps; do $(BIN)/python -m benchmarks.$$part; done
	@set -e; for part in ope ope_drift ope_seeds ope_power ope_trials ope_published; do \
	  $(BIN)/python -m benchmarks.$$part $(if $(PROCESSES),--processes $(PROCESSES)); done
	@$(BIN)/python -m benchmarks.render

bench-serve bench-overload: export OMP_NUM_THREADS := 1
bench-serve: $(STAMP) ## the service after `make run`, on two cores that do nothing else: speed, kills, swaps, what it shows and explores, overload, an hour of it and more (MINUTES=100)
	@set -e; for part in serve serve_kills serve_swaps serve_quality serve_exploration overload; do $(BIN)/python -m benchmarks.$$part; done
	@$(BIN)/python -m benchmarks.serve_soak $(if $(MINUTES),--minutes $(MINUTES))
	@$(BIN)/python -m benchmarks.render

bench-codes-real: $(STAMP) ## what decoding codes and topology in codes are worth on SET=beauty, movielens-100k, far-trans-2020 (KINDS="text topology"); resumes
	@$(BIN)/python -m benchmarks.codes_real $(SET) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(KINDS),--kinds $(KINDS))
	@$(BIN)/python -m benchmarks.render

bench-rolling: $(STAMP) ## FAR-Trans on sale at every cut that the data allow, beside every baseline; resumes
	@$(BIN)/python -m benchmarks.rolling $(if $(SEEDS),--seeds $(SEEDS))
	@$(BIN)/python -m benchmarks.render

bench-%: $(STAMP) ## one of the others: uplift (Hillstrom), causal, causal-sentences, pareto (FAR-Trans), ablation, rankers, recommend, overload, retrieval, ope-market, generate (decoding codes), item-inputs, item-shares, crowding (FAR-Trans), investor-codes, query-codes, beam, sid-codes, sid-worth, sid-rates, sid-health (codes under noise; TESSERA_DATA=<folder>), walk (graph recall), sources (what they find together), stream-features, stream-taken, sizing (a load past these machines)
	@$(BIN)/python -m benchmarks.$(subst -,_,$*)
	@$(BIN)/python -m benchmarks.render

install: $(STAMP) ## build the environment from the lock

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	@command -v uv >/dev/null || $(BIN)/python -m pip install --quiet uv
	@uv pip install --quiet --compile-bytecode --python $(BIN)/python $(FIND_LINKS) -r requirements.lock
	@uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.cluster: requirements-cluster.lock $(STAMP)
	@uv pip install --quiet --compile-bytecode --python $(BIN)/python $(FIND_LINKS) -r requirements-cluster.lock
	@touch $@

COMPILE := uv pip compile --quiet pyproject.toml --extra airflow --extra s3 --extra dev --no-annotate --no-header --no-emit-find-links $(FIND_LINKS)
lock: ## resolve requirements.lock again from pyproject.toml, and that of a cluster as near to it as can be
	@$(COMPILE) -o requirements.lock
	@cp requirements.lock requirements-cluster.lock
	@$(COMPILE) --extra cluster -o requirements-cluster.lock
	@sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.lock requirements-cluster.lock

clean: ## remove what the pipeline made; the published state in registry/ stays
	@rm -rf data .airflow
