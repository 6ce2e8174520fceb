# Everything that a person or CI does here. One profile (release) throughout, so that nothing is compiled twice.

BINARY := target/release/stepwise
CACHE := $(or $(STEPWISE_CACHE),$(HOME)/.cache/stepwise)
DENY_VERSION := 0.20.2
DENY := $(CACHE)/tools/bin/cargo-deny
# What cargo-deny knows of weaknesses in crates; `$(DENY) fetch db` brings it or brings it up to date.
ADVISORIES := $(wildcard $(or $(CARGO_HOME),$(HOME)/.cargo)/advisory-dbs/*)
DATA := $(or $(STEPWISE_DATA_DIR),.data)
PYTHON ?= python3
# podman works as well.
ENGINE := $(or $(STEPWISE_ENGINE),docker)
TARGET := $(or $(STEPWISE_TARGET),cpu)
# Real rows and students, and what transformers computed of them. Where they are there, no test goes without.
SHARED_THERE := $(or $(STEPWISE_SHARED),$(patsubst %/reference,%,$(wildcard ../shared/reference)))
SHARED := $(or $(SHARED_THERE),../shared)
BENCHMARK_DATA := $(SHARED)/data
BENCHMARK_PEERS := $(SHARED)/bench
BENCHMARK_STUDENT := $(SHARED)/mini-t5

.DEFAULT_GOAL := help
.PHONY: help setup build demo seeds up test check benchmarks bench-annotate bench-train bench-serve bench-growth export-check reference-check upload-benchmark fmt sqlx openapi errors fuzz doctor image compose-check clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: ## Find or fetch libtorch and PostgreSQL's programs
	@scripts/setup

# With the tests, whose dependencies switch on features of shared crates: built alone, the binary would have these
# crates compiled once more.
build: setup ## Build the stepwise binary, and the tests
	cargo build --release --locked --all-targets

demo: build ## Set up, build and run the whole road on generated data
	examples/demo/run --binary $(BINARY)

seeds: build ## Run the demo on three seeds of data and training
	for seed in 1 2 3; do examples/demo/run --binary $(BINARY) --seed $$seed || exit 1; done

up: build ## Run the service on http://127.0.0.1:8080 until Ctrl-C
	$(BINARY) up --data-dir $(DATA)

# The test with OpenAI's own package must run here: where there is no Python with it and none can be made, that test fails and the
# others are run all the same.
test: build ## Run every test
	STEPWISE_OPENAI_PYTHON=$$(scripts/openai_sdk || echo none) $(if $(SHARED_THERE),STEPWISE_SHARED=$(abspath $(SHARED_THERE)) )cargo test --release --locked
	python3 -B -m unittest discover -q -s examples -p 'test_*.py'

check: build $(DENY) ## Format, lints, docs, dependencies, .sqlx and openapi.yaml
	cargo fmt --check
	scripts/sqlx check -- cargo clippy --release --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps --lib --document-private-items --quiet
	$(BINARY) openapi | diff -u openapi.yaml - || { echo "openapi.yaml is stale: make openapi"; exit 1; }
	$(DENY) --log-level error check bans licenses sources
ifeq ($(ADVISORIES),)
	@echo "check: advisories were skipped, because their database is not at hand: $(DENY) fetch db"
else
	$(DENY) --offline --log-level error check advisories
endif

$(DENY):
	@echo "check: installing cargo-deny $(DENY_VERSION) into $(CACHE)/tools, some minutes, once"
	cargo install --quiet --locked --root $(CACHE)/tools cargo-deny@$(DENY_VERSION)

fuzz: build ## Send the API what nobody would: schemathesis over openapi.yaml (installs it, once)
	scripts/fuzz $(BINARY)

benchmarks: build ## Run the road on the paper's benchmarks (needs ../shared or STEPWISE_SHARED)
	examples/benchmarks/run --binary $(BINARY) $(BENCHMARK_DATA) $(BENCHMARK_STUDENT) esnli svamp

export-check: build ## Compare exported students in transformers with the service (PYTHON=… with torch and transformers)
	$(PYTHON) examples/export/check --binary $(BINARY) $(addprefix --student ,$(wildcard $(BENCHMARK_STUDENT)))

reference-check: build ## Compare students of many shapes with transformers (PYTHON=… with torch, transformers, sentencepiece)
	$(PYTHON) examples/reference/check --shared $(SHARED)

upload-benchmark: build ## Send a gigabyte to a service, and print what it took
	examples/upload_benchmark/run --binary $(BINARY)

bench-annotate: build ## Time annotating beside OpenAI's package (PYTHON=… with openai; ARGUMENTS="--rows …")
	examples/annotation_benchmark/run --binary $(BINARY) --python $(PYTHON) $(ARGUMENTS)

bench-train: build ## Time training beside transformers (PYTHON=… with torch and transformers; ARGUMENTS="--sizes tiny base …")
	examples/training_benchmark/run --binary $(BINARY) --python $(PYTHON) --peers $(BENCHMARK_PEERS) --rows $(BENCHMARK_DATA)/esnli/valid.jsonl $(ARGUMENTS)

bench-serve: build ## Time the engine beside transformers and CTranslate2, and over HTTP (PYTHON=… with them; ARGUMENTS="--sizes small base …")
	examples/serving_benchmark/run --binary $(BINARY) --python $(PYTHON) --peers $(BENCHMARK_PEERS) --rows $(BENCHMARK_DATA)/esnli/valid.jsonl $(ARGUMENTS)
	examples/serving_benchmark/http --binary $(BINARY) --python $(PYTHON) --peers $(BENCHMARK_PEERS) --rows $(BENCHMARK_DATA)/esnli/valid.jsonl $(ARGUMENTS)

bench-growth: build ## Measure how the engine's cost grows (ARGUMENTS="--model STUDENT_DIR [--labels-model TRAINED_STUDENT_DIR]")
	examples/serving_benchmark/growth --binary $(BINARY) --rows $(BENCHMARK_DATA)/esnli/valid.jsonl $(ARGUMENTS)

fmt: ## Format the sources
	cargo fmt

sqlx: setup ## Rewrite .sqlx after a change of a query or the schema
	scripts/sqlx prepare

openapi: build ## Rewrite openapi.yaml after a change of a route
	$(BINARY) openapi > openapi.yaml

errors: build ## Rewrite ERRORS.md after a change of the catalogue
	$(BINARY) errors > ERRORS.md

doctor: build ## Say what works on this machine
	$(BINARY) doctor

image: ## Build the container image (STEPWISE_TARGET=cuda for GPUs, STEPWISE_ENGINE=podman)
	$(ENGINE) build -f docker/Dockerfile --target $(TARGET) -t stepwise:$(TARGET) .

compose-check: ## Check docker/compose.yaml and what is laid over it
	POSTGRES_PASSWORD=x $(ENGINE) compose -f docker/compose.yaml -f docker/compose.cuda.yaml --profile monitoring config --quiet

clean: ## Remove what was built, and the demo's data
	cargo clean
	rm -rf .data
