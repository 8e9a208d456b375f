//go:build linux

package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"turnkey/lab/program"
)

// drain returns the default of TURNKEY_DRAIN_TIMEOUT.
func drain(t *testing.T) time.Duration {
	t.Helper()
	for _, s := range settings(t) {
		if s.Name == "TURNKEY_DRAIN_TIMEOUT" {
			d, err := time.ParseDuration(s.Default)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	t.Fatal("there is no TURNKEY_DRAIN_TIMEOUT")
	return 0
}

// outlastsDrain checks a time to stop within which calls can be drained.
func outlastsDrain(t *testing.T, what, value string) {
	t.Helper()
	if d, err := time.ParseDuration(value); err != nil || d < drain(t)+5*time.Second {
		t.Errorf("%s is %q, want at least 5s more than the %s of TURNKEY_DRAIN_TIMEOUT", what, value, drain(t))
	}
}

func TestUnit(t *testing.T) {
	unit := lines(read(t, "configs/turnkey.service"))
	value := func(name string) string {
		at := slices.IndexFunc(unit, func(line string) bool { return strings.HasPrefix(line, name+"=") })
		if at < 0 {
			return ""
		}
		return strings.TrimPrefix(unit[at], name+"=")
	}
	for name, want := range map[string]string{
		"ExecStart": "/usr/local/bin/turnkey serve",
		"Restart":   "on-failure", "RestartPreventExitStatus": "2", "KillSignal": "SIGTERM",
		"After": "network-online.target", "Wants": "network-online.target",
		"DynamicUser": "yes", "StateDirectory": "turnkey", "NoNewPrivileges": "yes",
		"CapabilityBoundingSet": "CAP_NET_BIND_SERVICE", "AmbientCapabilities": "CAP_NET_BIND_SERVICE",
		"RestrictAddressFamilies": "AF_INET AF_INET6 AF_NETLINK", "SystemCallFilter": "@system-service",
		"MemoryDenyWriteExecute": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateDevices": "yes",
	} {
		if got := value(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	outlastsDrain(t, "TimeoutStopSec", value("TimeoutStopSec"))
}

// TestUnitIsUnderstood asks systemd itself where it is installed, with the
// commented lines switched on.
func TestUnitIsUnderstood(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not here: the unit was looked at as text only, by TestUnit")
		return
	}
	text := regexp.MustCompile(`(?m)^#([A-Z]\w+=)`).ReplaceAllString(read(t, "configs/turnkey.service"), "$1")
	text = strings.ReplaceAll(text, "/usr/local/bin/turnkey", program.Binary(t))
	file := filepath.Join(t.TempDir(), "turnkey.service")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// A mistake is only a warning to it, so nothing may be said of this file.
	out, err := exec.CommandContext(t.Context(), verify, "verify", "--man=no", file).CombinedOutput()
	if err != nil || strings.Contains(string(out), "turnkey.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestCompose(t *testing.T) {
	file := lines(read(t, "configs/compose.yaml"))
	for _, want := range []string{
		"network_mode: host", "build: ..", "TURNKEY_AUTH: key", "read_only: true", "cap_drop: [ALL]", "cap_add: [NET_BIND_SERVICE]",
		"- state:" + one(t, dockerfile(t)[1], "VOLUME"),
	} {
		if !slices.Contains(file, want) {
			t.Errorf("compose.yaml has no line %q", want)
		}
	}
	for _, line := range file {
		if line == "ports:" {
			t.Error("compose.yaml publishes ports, which the host's network has no use for")
		}
		if grace, ok := strings.CutPrefix(line, "stop_grace_period: "); ok {
			outlastsDrain(t, "stop_grace_period", grace)
			return
		}
	}
	t.Error("compose.yaml has no stop_grace_period: Docker kills after 10 seconds")
}

// TestPorts: EXPOSE is what the program serves by default.
func TestPorts(t *testing.T) {
	var want []string
	for _, s := range settings(t) {
		switch s.Name {
		case "TURNKEY_PORT":
			want = append(want, s.Default+"/udp", s.Default+"/tcp")
		case "TURNKEY_ALT_PORT", "TURNKEY_RELAY_PORTS":
			want = append(want, s.Default+"/udp")
		case "TURNKEY_HTTP":
			want = append(want, strings.TrimPrefix(s.Default, ":")+"/tcp")
		case "TURNKEY_TLS_PORT":
			want = append(want, s.Default+"/udp", s.Default+"/tcp", "443/tcp") // the last is TURNKEY_HTTPS with a certificate
		}
	}
	got := strings.Fields(one(t, dockerfile(t)[1], "EXPOSE"))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("EXPOSE: got %v, want %v", got, want)
	}
}
