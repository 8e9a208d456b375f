// Package need says what a lab cannot do without.
//
// A lab needs things that plain Go tests do not: root, other programs, time.
// Where one is missing the test is skipped and names it; with CI=true, where
// nothing may be missing, it fails.
package need

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Root stops t unless it may make network namespaces.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		lack(t, "root, for network namespaces: run `sudo -E make test`")
	}
}

// Programs stops t unless every program of names is in the PATH.
func Programs(t testing.TB, names ...string) {
	t.Helper()
	var missing []string
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		lack(t, strings.Join(missing, ", ")+": run ci/deps.sh")
	}
}

// Path stops t unless path exists; how says what makes it.
func Path(t testing.TB, path, how string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		lack(t, path+": "+how)
	}
}

// Long reports whether the long form of a lab is wanted, as `make long` does
// by LONG=1: full matrices and soaks of minutes instead of a sample of
// seconds.
func Long() bool { return os.Getenv("LONG") == "1" }

func lack(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}
