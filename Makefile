# `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(PATH):/usr/sbin:/sbin

# How long each fuzz target runs: a time, or a number of inputs such as 10000x.
FUZZTIME ?= 2s

packages = $$(go list ./... | grep -v ^turnkey/lab/)
# The race detector makes stacks larger, so they are measured without it.
# The labs start other programs and wait for them: many at once, but one package at a time.
suites = { failed=0; \
  go test -json -count=1 -race -timeout $(1) $(packages) || failed=1; \
  go test -json -count=1 -run Stack ./turnsrv || failed=1; \
  go test -json -count=1 -p 1 -parallel 6 -timeout $(1) ./lab/... || failed=1; \
  ci/fuzz.sh $(2) || failed=1; \
  exit $$failed; } | go run ./ci/summary

.PHONY: help build run test long race lint bench deps clean
help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

build: ## build ./turnkey, static
	CGO_ENABLED=0 go build -trimpath -o turnkey ./cmd/turnkey

run: ## run the server with its defaults
	go run ./cmd/turnkey serve

test: deps ## every suite in its short form; what CI runs
	go vet ./...
	@$(call suites,10m,$(FUZZTIME))

long: deps ## every suite in its long form: fuzzing for 10 minutes a target, soaks, full matrices
	go vet ./...
	@export LONG=1; $(call suites,6h,10m)

race: deps ## the labs with the race detector in the program
	@LAB_RACE=1 go test -json -count=1 -p 1 -parallel 2 -timeout 1h ./lab/{program,interop,browser} | go run ./ci/summary

lint: ## vet, staticcheck, gofmt
	go vet ./...
	go tool -modfile=ci/tools.mod staticcheck ./...
	@unformatted=$$(git ls-files -co --exclude-standard -- '*.go' | xargs gofmt -l); \
	if [[ -n $$unformatted ]]; then echo "not formatted by gofmt:" $$unformatted; exit 1; fi

bench: ## every benchmark
	go test -run='^$$' -bench=. -benchmem $(packages)

deps: ## install what the labs need beyond Go, or name it
	@ci/deps.sh

clean: ## remove what the targets made
	rm -rf turnkey lab/browser/node_modules
