SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo none)
RELEASE ?= 0
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.release=$(RELEASE)
TOOLS   := bin/tools

export CGO_ENABLED ?= 1

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the three binaries into bin/ (RELEASE: number of the worker among signed releases)
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: build ## run everything in one process: node, minion, example jobs, page on http://127.0.0.1:8420
	@exec ./bin/carillon dev

test: ## run all tests with the race detector; in CI a skipped test is a failure
	@.ci/test ./...

docs-test: ## walk through README and docs: run each block of commands, compare its output (part of test)
	@go test ./test/script -run TestDocs -count 1 -v

# Most tests wait more than they compute, so that more of them than there are
# processors run at a time.
test-short: ## run the quick tests: no race detector, no clusters of programs
	@go test -short -parallel $$((4 * $$(nproc))) $$(go list ./... | grep -vE '/(bench|test/attack|test/fault)$$')

N   ?= 50
RUN ?= .
test-flaky: ## run the tests of PKG (RUN: those that match) N times beside busy programs; list what failed
	@[ -n '$(PKG)' ] || { echo 'usage: make test-flaky PKG=./lock [N=50] [RUN=TestName]' >&2; exit 2; }
	@.ci/flaky $(N) '$(RUN)' $(PKG)

mutants: ## build the lock and the programs with one known mistake after another, and expect tests to fail
	go test ./lock -run TestMutants -mutants -v
	go test ./test/fault -run TestMutants -mutants -v -timeout 0

SIM_RUNS ?= 60
sim: ## simulate whole nodes on a virtual clock, many seeds (SIM_RUNS, SIM_HOURS)
	go test ./test/sim -run TestSimulation -sim.first $$((RANDOM * 32768 + RANDOM)) -sim.runs $(SIM_RUNS) -sim.hours $(or $(SIM_HOURS),1) -timeout 0 -v

FUZZTIME ?= 20s
fuzz: ## run every fuzz test for a while (FUZZTIME=20s); make test runs a few in turn
	@.ci/fuzz $(FUZZTIME)

FAULT_SEEDS ?= 20
FAULT_LOADS ?= 0,4
FAULT_FOR   ?= 60s
fault: ## run all fault scenarios by FAULT_SEEDS seeds, quiet and beside busy programs (FAULT_LOADS), a line for each; goes on where it was broken off
	@go run ./test/fault campaign -seeds $(FAULT_SEEDS) -loads $(FAULT_LOADS) -for $(FAULT_FOR)

test-long: mutants sim fuzz ## run all mutants, and all fault scenarios by many seeds
	go test ./lock -run TestLinear -linear-for 60s
	go test ./test/jobfiles -generate-for 60s -timeout 0
	go test -tags receivers ./internal/notify -run 'TestMailpit|TestAlertmanager'
	go run ./test/fault -scenario plan-large -hang 3h
	$(MAKE) fault

bench: ## print BENCH lines (see bench/README.md)
	@command -v clush >/dev/null || { apt-get update -q && apt-get install -y -q clustershell; } >&2
	@go run ./bench

lint: $(TOOLS)/golangci-lint ## vet and lint
	go vet ./... && go vet -tags fault ./cmd/... && go vet -tags receivers ./internal/notify
	$(TOOLS)/golangci-lint run ./...

$(TOOLS)/golangci-lint: tools/go.mod
	@mkdir -p $(TOOLS)
	go build -modfile=tools/go.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/protoc-gen-go: tools/go.mod
	@mkdir -p $(TOOLS)
	go build -modfile=tools/go.mod -o $(TOOLS)/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc

generate: $(TOOLS)/protoc-gen-go ## write the generated files: wire protocol, JSON schema, example settings
	command -v protoc >/dev/null || { apt-get update -q && apt-get install -y -q protobuf-compiler; }
	PATH="$(CURDIR)/$(TOOLS):$$PATH" protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative agentpush/agentpb/agent.proto internal/auth/authpb/enroll.proto
	go run ./internal/manifest/schemagen > configs/schema/job.schema.json.new
	mv configs/schema/job.schema.json.new configs/schema/job.schema.json
	go run ./internal/manifest/schemagen -docs > docs/jobs.md.new
	mv docs/jobs.md.new docs/jobs.md
	go test ./configs -run TestExampleIsTheDefault -update

verify: generate ## fail if a generated file is not current
	git diff --exit-code -- agentpush/agentpb internal/auth/authpb configs docs/jobs.md

.PHONY: fault docs-test fuzz sim mutants help build demo test test-short test-flaky test-long bench lint generate verify
