# Everything a person or a machine does with this tree. `make` lists the targets.
GO      ?= go
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

# Debian packages that the laboratory and the demo use; nothing else needs them.
LAB_PACKAGES := miredo miredo-server xvfb xterm x11-apps imagemagick chromium \
                iproute2 iputils-ping nftables iperf3 curl uidmap python3 procps util-linux \
                coturn stun-client stun-server miniupnpd-nftables miniupnpc natpmpc tshark ethtool systemd strace
# The race detector needs a C compiler; without one the tests run without it.
RACE := $(shell command -v $${CC:-gcc} >/dev/null 2>&1 && echo -race)

# Packages that hold laboratory tests.
LAB_TESTS = $(sort $(dir $(addprefix ./,$(shell grep -rl --include='*_test.go' '^//go:build.*lab' * ))))

# Packages that hold benchmarks, those of the laboratory aside.
BENCHES = $(sort $(dir $(addprefix ./,$(shell grep -rl --include='*_test.go' '^func Benchmark' * | xargs grep -L '^//go:build.*lab'))))

NAT_A ?= port-restricted
NAT_B ?= port-restricted
OUT   ?= demo-out
FUZZTIME ?= 60s

.PHONY: help build test lab lab-packages demo bench fuzz lint clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

build: ## the static binary bin/shipworm
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/shipworm ./cmd/shipworm

test: ## tests that need nothing but Go
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -shuffle=on ./...
	@echo "left out: laboratory tests (namespaces, Debian's peers, X display, browser): make lab"
	@$(if $(RACE),true,echo "left out: the race detector (no C compiler found)")

lab-packages: ## Debian packages of the laboratory
	@missing=""; for p in $(LAB_PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
	  $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -q -y --no-install-recommends $$missing; fi

lab: build lab-packages ## laboratory tests: namespaces, real peers, display, browser
	@echo "laboratory tests, a few minutes; everything they say goes to bin/lab.log"
	@SHIPWORM_BIN=$(CURDIR)/bin/shipworm $(GO) test -v -tags lab -count=1 -p 1 -timeout 20m $(LAB_TESTS) > bin/lab.log 2>&1; code=$$?; \
	if [ $$code != 0 ]; then cat bin/lab.log; fi; grep -E '^(ok|FAIL)' bin/lab.log; \
	echo "left out:"; grep -B1 -E '^ *--- SKIP' bin/lab.log || echo "nothing"; \
	if [ $$code != 0 ]; then echo "failed:"; grep -E '^(panic:|WARNING: DATA RACE| *--- FAIL| +[a-z_0-9]+_test\.go:)' bin/lab.log | grep -B12 -A3 -e '--- FAIL' -e panic -e RACE; fi; exit $$code

demo: build lab-packages ## the main job, end to end: make demo NAT_A=cone NAT_B=port-restricted
	$(GO) run ./testnet/demo --shipworm bin/shipworm --nat-a $(NAT_A) --nat-b $(NAT_B) --out $(OUT)

bench: build lab-packages ## the data plane beside Miredo, the speed of a session, benchmarks of packages
	@mkdir -p bench-out; code=0; \
	echo "the data plane, some ten minutes; SPEED=--quick is a look" >&2; \
	$(GO) run ./testnet/speed --shipworm bin/shipworm $(SPEED) || code=$$?; echo; \
	echo "the speed of a session, some three minutes" >&2; \
	$(GO) run ./testnet/demo --bench --shipworm bin/shipworm --out bench-out || code=$$?; \
	echo "benchmarks of packages, some three minutes, to bench-out/packages.txt" >&2; \
	$(GO) test -run '^$$' -bench . -benchmem -benchtime 300ms $(BENCHES) > bench-out/packages.txt 2>&1 || { code=$$?; grep -B3 -A3 FAIL bench-out/packages.txt; }; \
	exit $$code

fuzz: ## every fuzz target for FUZZTIME each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime=20x $$pkg; done; done

lint: ## gofmt, vet, cross-compilation
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./... && $(GO) vet -tags lab ./...
	@for os in linux/arm64 windows/amd64 darwin/arm64; do echo "build $$os"; \
	  CGO_ENABLED=0 GOOS=$${os%/*} GOARCH=$${os#*/} $(GO) build -o /dev/null ./cmd/shipworm || exit 1; done

clean: ## what builds and demos left
	rm -rf bin demo-out bench-out
