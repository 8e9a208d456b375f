#!/usr/bin/env bash
# Fuzzes every Fuzz target, each for a time (the first argument, default 5s),
# and prints go test's JSON. A failing input is kept in testdata/fuzz of its
# package: commit it with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-5s}
failed=0
while IFS=: read -r file target; do
  go test -json -run='^$' -fuzz="^$target\$" -fuzztime="$time" -fuzzminimizetime=5s "./$(dirname "$file")" || failed=1
done < <(git ls-files -co --exclude-standard -- '*_test.go' | xargs grep -Eo '^func Fuzz[A-Za-z0-9_]*' -- /dev/null | sed 's/func //')
exit "$failed"
