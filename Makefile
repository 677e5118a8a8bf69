# What one does with this repository. `make` alone lists it.

CARGO ?= cargo
ARGS ?=
TARGET ?=
SECONDS ?= 600
SEED ?= 1
QUICK ?=
BENCH_FILE ?=
ONLY ?=

.DEFAULT_GOAL := help
.PHONY: help run test torture lint fmt clippy docs deny bench bench-micro fuzz api-fuzz docker

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Run the server; ARGS="--store mongodb://localhost" adds flags
	$(CARGO) run --release --locked --bin sluice -- $(ARGS)

test: ## Run every test of the workspace, on both stores
	$(CARGO) test --workspace --locked --no-fail-fast

torture: ## Cut the power, attack a running server for an hour, count what was lost; ARGS="--only kill --seed 7" narrows it
	$(if $(ARGS),,SLUICE_POWER_CUTS=20 $(CARGO) test --release --locked --lib power_cut -- --nocapture)
	$(CARGO) test --release --locked --test torture -- --full $(ARGS)

lint: fmt clippy docs deny ## Check format, lints, docs and dependencies

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

deny:
	$(CARGO) deny --locked check --hide-inclusion-graph licenses bans sources

bench: ## Measure everything against zstd -1, as Markdown; QUICK=1 in 3 minutes; BENCH_FILE=any.ndjson; ONLY=ingest,queries
	@$(CARGO) bench --locked --bench table -- \
		$(if $(QUICK),--quick) $(if $(BENCH_FILE),--file "$(BENCH_FILE)") $(if $(ONLY),--only $(ONLY)) $(ARGS)

bench-micro: ## Measure decode, spool append, segment write, scan and filter, each beside its floor; ARGS=scan for one
	$(CARGO) bench --locked --bench micro -- $(ARGS)

fuzz: ## Fuzz everything that reads bytes from outside; TARGET=body SECONDS=600 for one of them
	fuzz/run "$(TARGET)" "$(SECONDS)"

api-fuzz: ## Check a server's answers against its /openapi.json; SEED=2 sends other requests
	fuzz/api $(SEED)

docker: ## Build the images sluice and sluice-producer
	docker build --tag sluice .
	docker build --tag sluice-producer --file producer/Dockerfile .
