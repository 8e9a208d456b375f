#!/usr/bin/env bash
# Fuzzes every Fuzz target, each for a time (the first argument, default 5s),
# and prints go test's JSON. A failing input is kept in testdata/fuzz of its
# package: commit it with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-5s}
failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
# go test now and then takes the end of the time for a failure, without an input
# that fails: that says nothing, and is tried again.
timed_out() { grep -q 'context deadline exceeded' "$out" && ! grep -q 'Failing input' "$out"; }
fuzz() {
  local code
  for _ in 1 2 3; do
    code=0
    go test -json -run='^$' -fuzz="^$2\$" -fuzztime="$time" -fuzzminimizetime=5s "./$(dirname "$1")" >"$out" || code=$?
    (( code )) && timed_out || break
  done
  cat "$out"
  return "$code"
}
while IFS=: read -r file target; do
  fuzz "$file" "$target" || failed=1
done < <(git ls-files -co --exclude-standard -- '*_test.go' | xargs grep -Eo '^func Fuzz[A-Za-z0-9_]*' -- /dev/null | sed 's/func //')
exit "$failed"
