# Porthole. `make` alone lists the targets; continuous integration runs `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

MUSL := x86_64-unknown-linux-musl
# The two programs lie side by side: `porthole` looks for `porthole-keeper` in its own directory.
DEBUG := target/product/debug
RELEASE := target/product/release

PACKAGES := busybox-static gcc libc6-dev nftables procps
TEST_PACKAGES := buildah chromium curl docker.io fonts-dejavu-core iproute2 lxc mmdebstrap nginx-light openssl podman python3 runc skopeo systemd-container umoci vim-tiny xz-utils zstd

WEB_SOURCES := $(shell find web static -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' 2>/dev/null)

##@ Use
.PHONY: help run build package setup uninstall
help: ## This list
	@awk -F ':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup build ## Set up what is missing, build, start Porthole and print its address (as root)
	@server/setup policy
	@exec $(RELEASE)/porthole serve $(ARGS)

build: web ## Build both programs, optimised, into target/product/release
	cargo build --locked --release -p porthole
	cargo build --locked --release -p porthole-keeper --target $(MUSL)
	@mkdir -p $(RELEASE)
	@install target/release/porthole target/$(MUSL)/release/porthole-keeper $(RELEASE)

package: setup build ## Build a Debian package into target/product
	@server/packaging/build $(RELEASE) target/product

setup: ## Install what is missing: Debian packages, Rust's musl target, the accounts
	@server/setup tools
	@server/setup packages $(PACKAGES)
	@server/setup account

uninstall: ## Remove containers, state, settings and the account (asks; CONFIRM=yes does not)
	@server/setup uninstall

##@ Work on it
.PHONY: web test test-vm fuzz build-debug setup-test bench picture fmt lint clean
web: target/web.built ## Build what browsers load into web/dist

ifeq ($(wildcard web/dist/*),)
.PHONY: target/web.built
endif
target/web.built: web/node_modules/.package-lock.json $(WEB_SOURCES)
	npm --prefix web run build
	@mkdir -p target && touch $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	npm --prefix web ci --ignore-scripts --no-audit --no-fund
	@touch $@

tests/browser/node_modules/.package-lock.json: tests/browser/package.json tests/browser/package-lock.json
	npm --prefix tests/browser ci --ignore-scripts --no-audit --no-fund
	@touch $@

build-debug: web ## Build both programs for tests into target/product/debug
	cargo build --locked --workspace --bins
	cargo build --locked -p porthole-keeper --target $(MUSL)
	@mkdir -p $(DEBUG)
	@install target/debug/porthole target/$(MUSL)/debug/porthole-keeper $(DEBUG)

setup-test: setup ## As setup, and what the tests need: Chromium among others
	@server/setup packages $(TEST_PACKAGES)

test: setup-test build-debug tests/browser/node_modules/.package-lock.json ## All tests, with formatting and lints (as root; sets up what it needs)
	@PORTHOLE_BIN=$(abspath $(DEBUG)/porthole) tests/run

test-vm: setup build-debug ## Try the package in a machine with Debian's own kernel and systemd (minutes)
	@server/setup packages mmdebstrap
	cargo build --locked -p porthole-tests --bin test-machine
	@tests/vm/run $(DEBUG) target/debug/test-machine

bench: setup build ## How fast it is, beside bare system calls and other programs (minutes; BENCH="start echo" for a part)
	@server/setup packages iproute2
	cargo build --locked --release -p porthole-tests --bin bench
	@PORTHOLE_BIN=$(abspath $(RELEASE)/porthole) target/release/bench $(BENCH)

fuzz: setup web ## Search for bytes that parsers cannot take (FUZZ="frames tar" for a part, SECONDS_EACH=60)
	@server/setup packages g++
	@tests/fuzz/run $(or $(SECONDS_EACH),60) $(FUZZ)

picture: setup-test build-debug tests/browser/node_modules/.package-lock.json ## Take docs/screenshot.png again
	PORTHOLE_BIN=$(abspath $(DEBUG)/porthole) npm --prefix tests/browser run picture

fmt: ## Format the Rust code
	cargo fmt --all

lint: web ## Check formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

clean: ## Remove everything that was built
	rm -rf target web/dist web/node_modules tests/browser/node_modules tests/browser/results
