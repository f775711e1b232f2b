# `make` lists the targets. ARGS goes to `martlet serve`, FILTER to `swift test`, PYTEST to pytest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build test unit interop crash conformance lint format check check-thread check-loops check-address check-sim check-crash sim bench bench-amqp bench-durability bench-http bench-journal bench-sockets bench-websocket clean system-build system-test
unit check-thread check-address: export SWIFT_BACKTRACE = enable=no

# Without symbols, which a static executable's backtraces do not show anyway, it has 16 MB instead of 40.
RELEASE := swift build -c release --static-swift-stdlib -debug-info-format none -Xlinker -s
# AGAIN=scripts/second-try runs what has failed once more.
UNIT := $(AGAIN) swift test --disable-xctest $(if $(FILTER),--filter '$(FILTER)')
# Tests of time, which want the processor for themselves.
TIMED := LibrariesTests.(HTTP|WebSocket|ZMQ(Limits|Reconnect|WebSocket))
# Three runs, $(1) before each and $(2) behind it, without the tests $(3): what computes keeps from the processor what talks, whose time is limited, too.
define UNITS
	$(1) $(UNIT) $(2) --skip '(IO|Libraries|Apps)Tests$(3)'
	$(1) $(UNIT) $(2) --skip-build --filter '(IO|Libraries|Apps)Tests' --skip '$(TIMED)$(3)'
	$(1) $(UNIT) $(2) --skip-build --no-parallel --filter '$(TIMED)'
endef

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: system-build ## builds a release and runs `martlet serve $(ARGS)`
	$(RELEASE) --product martlet
	exec .build/release/martlet serve $(ARGS)

build: system-build ## builds all release products into .build/release
	$(RELEASE)

test: lint unit interop crash ## lint, unit tests, tidy, interop with real peers, a few kills; installs what they need

unit: system-build ## `swift test` alone, FILTER=name for some
	$(if $(FILTER),$(UNIT),$(call UNITS))

interop: system-test .venv/paho1/.installed .venv/paho2/.installed ## pytest against the release build, PYTEST="-k name" for some
	$(RELEASE)
	.venv/paho2/bin/python -m pytest Tests/Interop -n 8 --dist worksteal $(PYTEST)

crash: system-test .venv/paho2/.installed ## pytest of restarts and kills, KILLS=6 a run; by hand: .venv/paho2/bin/python Tests/Crash/crash.py --kills 200 --shim
	$(RELEASE) --product martlet
	$(if $(KILLS),MARTLET_CRASH_KILLS=$(KILLS)) .venv/paho2/bin/python -m pytest Tests/Crash -n 8 $(PYTEST)

conformance: system-test ## runs suites from checkouts into Documentation/conformance: SUITE=paho.mqtt.testing PIKA=PATH PYAMQP=PATH, AUTOBAHN=PATH of wstest; PEER=mosquitto|rabbitmq|websockets prints its result
	@test -n "$(SUITE)$(PIKA)$(PYAMQP)$(AUTOBAHN)" || { echo "make conformance SUITE=PATH: PATH is a checkout of https://github.com/eclipse/paho.mqtt.testing; PIKA=PATH, PYAMQP=PATH: of https://github.com/pika/pika, https://github.com/celery/py-amqp; AUTOBAHN=PATH: the wstest of autobahntestsuite, a Python 2.7 program" >&2; exit 64; }
	$(if $(PEER),,$(RELEASE) --product martlet)
	$(if $(AUTOBAHN),$(if $(PEER),,$(RELEASE) --product interop-websocket-echo))
	$(if $(AUTOBAHN),$(MAKE) -s .venv/paho2/.installed)
	$(if $(AUTOBAHN),.venv/paho2/bin/python Tests/Interop/conformance_websocket.py '$(AUTOBAHN)' $(if $(PEER),--peer $(PEER),--output Documentation/conformance/websocket.md))
	$(if $(SUITE),python3 Tests/Interop/conformance.py '$(SUITE)' $(if $(PEER),--peer $(PEER),--output Documentation/conformance/paho.md))
	$(if $(PIKA)$(PYAMQP),$(MAKE) -s .venv/conformance/.installed)
	$(if $(PIKA)$(PYAMQP),.venv/conformance/bin/python Tests/Interop/conformance_amqp.py $(if $(PIKA),--pika '$(PIKA)') $(if $(PYAMQP),--py-amqp '$(PYAMQP)') $(if $(PEER),--peer $(PEER),--output Documentation/conformance/amqp.md))

check: check-thread check-loops check-address check-sim check-crash ## the tests under the thread and the address sanitizer, interop on four loops too, the simulator, more kills

TSAN := LD_PRELOAD=$(CURDIR)/.build/thread-sanitizer.so TSAN_OPTIONS="suppressions=$(CURDIR)/scripts/thread-sanitizer.supp"

.build/thread-sanitizer.so: scripts/thread-sanitizer.c
	@mkdir -p .build
	clang -Wall -Wextra -Werror -O1 -shared -fPIC -o $@ $<

# What has one thread and takes long is left to the address sanitizer.
check-thread: system-build .build/thread-sanitizer.so
	$(call UNITS,$(TSAN),--sanitize=thread --scratch-path .build/tsan,|TidyTests|LawsTests|ProtocolsTests|JournalDamage|JournalCrash|MQTTJournal|Simulation)

# Its resident memory is the sanitizer's, so the memory tests are left out; what is asked of RabbitMQ says nothing about us,
# and ZeroMQ's sockets have no part in the server: its unit tests are in check-thread.
check-loops: system-test .venv/paho1/.installed .venv/paho2/.installed .build/thread-sanitizer.so
	swift build --sanitize=thread --scratch-path .build/tsan
	$(TSAN) MARTLET_INTEROP_LOOPS=4 MARTLET_BIN=.build/tsan/debug/martlet .venv/paho2/bin/python -m pytest Tests/Interop -n 4 --dist worksteal --ignore Tests/Interop/test_memory.py --ignore Tests/Interop/test_overload.py --ignore Tests/Interop/test_http_slow.py --ignore-glob 'Tests/Interop/test_zm*' -k 'not rabbitmq' $(PYTEST)

check-crash:
	$(MAKE) crash KILLS=50 PYTEST="-k test_crash"

check-address: system-build
	$(call UNITS,ASAN_OPTIONS=detect_leaks=0,--sanitize=address --scratch-path .build/asan,|TidyTests)

# The first seeds; SEED names another first one. More of them in less time: `make sim SEEDS=10000`.
check-sim: system-build
	swift build --sanitize=address --scratch-path .build/asan --product simulate
	ASAN_OPTIONS=detect_leaks=0 .build/asan/debug/simulate $(or $(SEED),0) 150

bench: system-build ## speed and memory against mosquitto and NATS, ARGS="--latency" and others in Benchmarks/README.md
	@scripts/install-packages mosquitto
	$(RELEASE) --product martlet
	Benchmarks/mqtt.py $(ARGS)

bench-amqp: system-build ## speed and memory of AMQP against RabbitMQ, ARGS=--latency, --memory, --topology
	@scripts/install-packages rabbitmq-server
	$(RELEASE) --product martlet
	Benchmarks/amqp.py $(ARGS)

bench-durability: system-build ## what is left of confirmed messages after a kill, beside mosquitto and RabbitMQ
	@scripts/install-packages mosquitto rabbitmq-server strace
	$(RELEASE) --product martlet
	Benchmarks/durability.py $(ARGS)

bench-journal: system-build ## what acknowledged on disk costs, beside RabbitMQ and mosquitto, ARGS="--recovery 1000000" and others
	@scripts/install-packages rabbitmq-server mosquitto
	$(RELEASE) --product martlet
	Benchmarks/journal.py $(ARGS)

bench-sockets: system-build ## speed of TCP, UDP and TLS echo against C, uvloop and asyncio, ARGS=--connections for memory
	$(RELEASE)
	Benchmarks/sockets.py $(ARGS)

bench-http: system-build ## a small HTTP service against nginx, ARGS=--uvicorn against uvicorn and FastAPI, too
	@scripts/install-packages nginx-light wrk
	$(RELEASE) --product example-items
	Benchmarks/http.py $(ARGS)

bench-websocket: system-build ## WebSocket echo and chat against uWebSockets and Python's websockets, ARGS=--memory for idle connections
	@scripts/install-packages libuv1
	$(RELEASE) --product bench-websocket
	Benchmarks/websocket.py $(ARGS)

sim: system-build ## the simulator: SEED=n is one run, SEEDS=count as many from there, ARGS=--trace tells what happens
	swift build -c release --product simulate
	.build/release/simulate $(or $(SEED),0) $(or $(SEEDS),1) $(ARGS)

lint: ## what swift-format would say
	swift format lint --strict --parallel -r Sources Tests Examples Benchmarks Package.swift

format: ## lets swift-format rewrite the sources
	swift format --in-place --parallel -r Sources Tests Examples Benchmarks Package.swift

clean: ## removes everything that was built or installed here
	rm -rf .build .venv

system-build:
	@scripts/install-packages libyaml-dev libssl-dev libsodium-dev zlib1g-dev openssl curl

system-test: system-build
	@scripts/install-packages chromium mosquitto mosquitto-clients netcat-openbsd nginx-light openssl rabbitmq-server slowhttptest wrk libzmq3-dev
	@python3 -c 'import ensurepip, venv' 2>/dev/null || scripts/install-packages python3 python3-venv

.venv/%/.installed: Tests/Interop/requirements-%.txt | system-test
	rm -rf .venv/$*
	python3 -m venv .venv/$*
	.venv/$*/bin/pip install -q --disable-pip-version-check -r $<
	touch $@
