//go:build linux

package packaging

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestEverySystemBuilds builds the program and vets every package, tests
// included, for systems that this machine is not. Seconds once the standard
// library is compiled for them, up to a minute each before.
func TestEverySystemBuilds(t *testing.T) {
	for _, platform := range []string{"linux/arm64", "darwin/arm64", "windows/amd64"} {
		t.Run(platform, func(t *testing.T) {
			system, arch, _ := strings.Cut(platform, "/")
			for _, args := range [][]string{
				{"build", "-o", os.DevNull, "./cmd/turnkey"},
				{"vet", "./..."},
			} {
				cmd := exec.CommandContext(t.Context(), "go", args...)
				cmd.Dir = root(t)
				cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
		})
	}
}
