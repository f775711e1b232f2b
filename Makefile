# `make` lists the targets. ARGS goes to `martlet serve`, FILTER to `swift test`, PYTEST to pytest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build test unit interop conformance lint format check check-thread check-loops check-address bench bench-sockets clean system-build system-test
unit check-thread check-address: export SWIFT_BACKTRACE = enable=no

RELEASE := swift build -c release --static-swift-stdlib
UNIT := swift test --disable-xctest $(if $(FILTER),--filter '$(FILTER)')

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: system-build ## builds a release and runs `martlet serve $(ARGS)`
	$(RELEASE) --product martlet
	exec .build/release/martlet serve $(ARGS)

build: system-build ## builds all release products into .build/release
	$(RELEASE)

test: lint unit interop ## lint, unit tests, tidy and interop with real peers; installs what they need

unit: system-build ## `swift test` alone, FILTER=name for some
	$(UNIT)

interop: system-test .venv/paho1/.installed .venv/paho2/.installed ## pytest against the release build, PYTEST="-k name" for some
	$(RELEASE)
	.venv/paho2/bin/python -m pytest Tests/Interop -n 4 $(PYTEST)

conformance: system-test ## runs SUITE=PATH, a checkout of paho.mqtt.testing, into Documentation/conformance; PEER=mosquitto prints its result
	@test -n "$(SUITE)" || { echo "make conformance SUITE=PATH: PATH is a checkout of https://github.com/eclipse/paho.mqtt.testing" >&2; exit 64; }
	$(if $(PEER),,$(RELEASE) --product martlet)
	python3 Tests/Interop/conformance.py '$(SUITE)' $(if $(PEER),--peer $(PEER),--output Documentation/conformance/paho.md)

check: check-thread check-loops check-address ## the tests under the thread and the address sanitizer, interop on four loops too

TSAN := TSAN_OPTIONS="suppressions=$(CURDIR)/scripts/thread-sanitizer.supp"

check-thread: system-build
	$(TSAN) $(UNIT) --sanitize=thread --scratch-path .build/tsan

# Its resident memory is the sanitizer's, so the memory tests are left out.
check-loops: system-test .venv/paho1/.installed .venv/paho2/.installed
	swift build --sanitize=thread --scratch-path .build/tsan
	$(TSAN) MARTLET_INTEROP_LOOPS=4 MARTLET_BIN=.build/tsan/debug/martlet .venv/paho2/bin/python -m pytest Tests/Interop -n 4 --deselect Tests/Interop/test_memory.py --deselect Tests/Interop/test_overload.py $(PYTEST)

check-address: system-build
	ASAN_OPTIONS=detect_leaks=0 $(UNIT) --sanitize=address --scratch-path .build/asan

bench: system-build ## speed and memory against mosquitto and NATS, ARGS="--latency" and others in Benchmarks/README.md
	@scripts/install-packages mosquitto
	$(RELEASE) --product martlet
	Benchmarks/mqtt.py $(ARGS)

bench-sockets: system-build ## speed of TCP, UDP and TLS echo against C, uvloop and asyncio, ARGS=--connections for memory
	$(RELEASE)
	Benchmarks/sockets.py $(ARGS)

lint: ## what swift-format would say
	swift format lint --strict --parallel -r Sources Tests Examples Benchmarks Package.swift

format: ## lets swift-format rewrite the sources
	swift format --in-place --parallel -r Sources Tests Examples Benchmarks Package.swift

clean: ## removes everything that was built or installed here
	rm -rf .build .venv

system-build:
	@scripts/install-packages libyaml-dev libssl-dev openssl

system-test: system-build
	@scripts/install-packages mosquitto mosquitto-clients netcat-openbsd openssl
	@python3 -c 'import ensurepip, venv' 2>/dev/null || scripts/install-packages python3 python3-venv

.venv/%/.installed: Tests/Interop/requirements-%.txt | system-test
	rm -rf .venv/$*
	python3 -m venv .venv/$*
	.venv/$*/bin/pip install -q --disable-pip-version-check -r $<
	touch $@
