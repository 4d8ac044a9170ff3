# Each target is a line a person could type. `make` alone builds.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BIN     := bin/homelab-patch-orchestrate

.PHONY: build run demo test e2e e2e-full fuzz lint bench deb deb-check release clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/homelab-patch-orchestrate

# What would a patch run do to this very machine? Nothing is changed.
run:
	e2e/need ansible-core python3
	$(MAKE) --no-print-directory build
	e2e/here $(BIN)

# Three booted hosts, really patched, on this machine; root.
demo:
	e2e/need $$(cat e2e/lab/needs)
	$(MAKE) --no-print-directory build
	e2e/demo $(BIN)

# All tests: the fast ones, then the ones on booted hosts.
test:
	e2e/need gcc libc6-dev ansible-core openssh-server openssh-client strace python3 prometheus prometheus-alertmanager $$(cat ara/testdata/needs)
	go vet ./... && go vet -tags 'e2e e2efull' ./...
	go test -race ./...
	python3 -m unittest discover -s ansible/tests
	$(MAKE) --no-print-directory e2e

# The scenarios on booted hosts that CI runs too, and the slow tests (late_*_test.go) that need none. Skipped without root.
e2e:
	e2e/need bash-completion $$(cat e2e/lab/needs) $$(cat ara/testdata/needs)
	$(MAKE) --no-print-directory build
	go test -race -tags e2e -count=1 -timeout 10m ./ara ./cmd/...
	go test -tags e2e -count=1 -timeout 10m ./e2e/sim
	go test -tags e2e -count=1 -timeout 60m -v ./e2e

# All of them, with a record of what they showed in docs/evidence/. RUN=TestLink makes only that one's.
RUN ?= .
e2e-full:
	e2e/need $$(cat e2e/lab/needs) age btrfs-progs tmux $$(cat ara/testdata/needs) chromium
	$(MAKE) --no-print-directory build
	E2E_FULL=1 E2E_REQUIRED=1 go test -count=1 -timeout 30m -run '$(RUN)' ./orchestrator ./inventory
	E2E_FULL=1 E2E_REQUIRED=1 go test -tags 'e2e e2efull' -count=1 -timeout 10m -run '$(RUN)' -v ./internal/report
	E2E_FULL=1 E2E_REQUIRED=1 go test -tags 'e2e e2efull' -count=1 -timeout 60m -run '$(RUN)' -v ./ara
	E2E_FULL=1 E2E_REQUIRED=1 go test -tags 'e2e e2efull' -count=1 -timeout 120m -run '$(RUN)' -v ./e2e

# Each decoder and parser against a minute of what nobody thought of.
fuzz:
	go test -run '^$$' -fuzz '^FuzzDecode$$' -fuzztime 60s -fuzzminimizetime 10x ./runner
	go test -run '^$$' -fuzz '^FuzzHead$$' -fuzztime 60s -fuzzminimizetime 10x ./runner
	go test -run '^$$' -fuzz '^FuzzDecodeJSONCallback$$' -fuzztime 60s -fuzzminimizetime 10x ./runner
	go test -run '^$$' -fuzz '^FuzzParse$$' -fuzztime 60s -fuzzminimizetime 10x ./inventory
	go test -run '^$$' -fuzz '^FuzzFleet$$' -fuzztime 60s -fuzzminimizetime 10x ./inventory
	go test -run '^$$' -fuzz '^FuzzParse$$' -fuzztime 60s -fuzzminimizetime 10x ./internal/config
	go test -run '^$$' -fuzz '^FuzzChannels$$' -fuzztime 60s -fuzzminimizetime 10x ./internal/config
	go test -run '^$$' -fuzz '^FuzzSchedule$$' -fuzztime 60s -fuzzminimizetime 10x ./orchestrator
	go test -run '^$$' -fuzz '^FuzzVersions$$' -fuzztime 60s -fuzzminimizetime 10x ./orchestrator
	go test -run '^$$' -fuzz '^FuzzHold$$' -fuzztime 60s -fuzzminimizetime 10x ./orchestrator
	go test -run '^$$' -fuzz '^FuzzPayloads$$' -fuzztime 60s -fuzzminimizetime 10x ./notify

lint:
	e2e/need ansible-core ansible-lint yamllint shellcheck
	test -z "$$(gofmt -l .)"
	go vet ./... && go vet -tags 'e2e e2efull manual' ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	cd ansible && ansible-lint --offline && yamllint .
	shellcheck -x -e SC2016 e2e/need e2e/here e2e/demo .ci/run monitoring/alertmanager/render packaging/check packaging/postinst packaging/prerm packaging/postrm
	cd e2e/lab && shellcheck -x lab
	$(MAKE) --no-print-directory deb-check

# Debian packages of this checkout, in dist/: amd64 and arm64.
deb:
	go run ./packaging

# Are they as Debian wants them, and are two builds the same bytes?
deb-check:
	e2e/need lintian systemd
	$(MAKE) --no-print-directory deb
	packaging/check dist

# A release: the packages of what is committed, an SBOM of each, and checksums.
release:
	go run ./packaging -release

# Figures against the peers, in docs/benchmarks.md, and what a record in ARA costs, in docs/evidence/. Fails where a promise is broken.
# PARTS="fleet start" measures those parts of the page alone, and leaves the rest as it was.
PARTS ?=
bench:
	e2e/need ansible-core python3-ansible-runner openssh-server openssh-client $$(cat e2e/lab/needs)
	go run ./e2e/bench $(PARTS)
	e2e/need $$(cat ara/testdata/needs)
	test -n "$(PARTS)" || E2E_FULL=1 E2E_REQUIRED=1 go test -tags 'e2e e2efull' -count=1 -run '^TestCost$$' -v ./ara

clean:
	rm -rf bin dist
