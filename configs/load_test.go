package configs

import (
	"bufio"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestInvalidFiles loads each testdata/invalid-*.env and wants exactly the faults of its want lines.
func TestInvalidFiles(t *testing.T) {
	for _, path := range envFiles(t, "invalid") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			environ, wants := readEnvFile(t, path)
			_, err := Load(environ)
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got error %v of type %T, want Faults", err, err)
			}
			if len(wants) == 0 || len(faults) != len(wants) {
				t.Errorf("got %d faults, want %d:\n%v", len(faults), len(wants), err)
			}
			for _, want := range wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got:\n%v\nwant a line with:\n%s", err, want)
				}
			}
			for _, f := range faults {
				if f.Name == "" || f.Problem == "" || f.Fix == "" {
					t.Errorf("got %#v, want a name, a problem and a fix", f)
				}
			}
		})
	}
}

// TestValidFiles loads each testdata/valid-*.env and wants the settings of its want lines.
func TestValidFiles(t *testing.T) {
	for _, path := range envFiles(t, "valid") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			environ, wants := readEnvFile(t, path)
			c, err := Load(environ)
			if err != nil {
				t.Fatal(err)
			}
			if len(wants) == 0 {
				t.Error("got a file without want lines, want some")
			}
			values := values(c)
			for _, want := range wants {
				name, value, _ := strings.Cut(want, "=")
				if got, known := values[name]; !known || got != value {
					t.Errorf("%s: got %q (known: %t), want %q", name, got, known, value)
				}
			}
		})
	}
}

func TestFaultsComeInTheOrderOfTheSettings(t *testing.T) {
	environ, _ := readEnvFile(t, "testdata/invalid-several.env")
	_, err := Load(environ)
	var faults Faults
	errors.As(err, &faults)
	var got []string
	for _, f := range faults {
		got = append(got, strings.TrimPrefix(f.Name, Prefix))
	}
	if want := "PORT ALT_PORT AUTH LOG_LEVEL COLOUR"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestEmptyEnvironmentGivesTheDefaults(t *testing.T) {
	t.Setenv("TURNKEY_PORT", "1") // of the process, which Load must not look at
	for _, environ := range []map[string]string{nil, {}} {
		c, err := Load(environ)
		if err != nil {
			t.Fatal(err)
		}
		want := Config{
			Port: 3478, AltPort: 3479, HTTP: ":8080", RelayPorts: PortRange{49160, 49359}, TLSPort: 5349, Realm: "turnkey",
			CredentialTTL: 12 * time.Hour, Auth: AuthLocal,
			MaxAllocationsPerUser: 64, MaxAllocationsPerIP: 256, MaxPermissions: 64, MaxChannels: 64, MaxConnectionsPerIP: 64,
			MaxSession: 24 * time.Hour, UnauthRate: 20, RoomMax: 8, RoomsMax: 10000, PeersPerIP: 64,
			DrainTimeout: 30 * time.Second, LogFormat: LogText, WebhookFail: FailDeny,
			set: map[string]bool{},
		}
		if !reflect.DeepEqual(c, want) {
			t.Errorf("got %+v, want %+v", c, want)
		}
	}
}

func TestHTTPSNeedsACertificate(t *testing.T) {
	file := writeFile(t, "a pair", 0o600)
	pair := func(https string) map[string]string {
		return map[string]string{"TURNKEY_TLS_CERT": file, "TURNKEY_TLS_KEY": file, "TURNKEY_HTTPS": https}
	}
	for _, tt := range []struct {
		environ map[string]string
		want    string
	}{
		{nil, ""},
		{map[string]string{"TURNKEY_HTTPS": "off"}, "off"},
		{pair(""), ":443"},
		{pair("off"), "off"},
		{pair("127.0.0.1:8443"), "127.0.0.1:8443"},
	} {
		if c, err := Load(tt.environ); err != nil || c.HTTPS != tt.want {
			t.Errorf("%v: got %q, %v, want %q", tt.environ, c.HTTPS, err, tt.want)
		}
	}
}

func TestSecretsAreTrimmedAndKeepTheirOrder(t *testing.T) {
	key := writeFile(t, "  0123456789abcdef \n", 0o600)
	want := []string{"fedcba9876543210", "0123456789abcdef"}
	for _, environ := range []map[string]string{
		{"TURNKEY_SECRET": " fedcba9876543210 , 0123456789abcdef\n"},
		{"TURNKEY_SECRET_FILE": writeFile(t, "fedcba9876543210, 0123456789abcdef\r\n", 0o600), "TURNKEY_API_KEY_FILE": key},
	} {
		c, err := Load(environ)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c.Secrets, want) {
			t.Errorf("got secrets %q, want %q", c.Secrets, want)
		}
		if environ["TURNKEY_API_KEY_FILE"] != "" && c.APIKey != "0123456789abcdef" {
			t.Errorf("got API key %q, want it without white space", c.APIKey)
		}
		if len(c.Warnings) > 0 {
			t.Errorf("got warnings %q, want none", c.Warnings)
		}
	}
}

func TestSecretsAreReadAgainUnderTheSameRules(t *testing.T) {
	got, err := ReadSecrets(writeFile(t, "fedcba9876543210, 0123456789abcdef\n", 0o600))
	if want := []string{"fedcba9876543210", "0123456789abcdef"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for _, text := range []string{"", "0123456789abcde", "0123456789abcdef,", "0123456789abcdef\nfedcba9876543210"} {
		if got, err := ReadSecrets(writeFile(t, text, 0o600)); err == nil {
			t.Errorf("%q: got %q, want an error", text, got)
		}
	}
	if key, err := ReadAPIKey(writeFile(t, "0123456789abcdef\n", 0o600)); err != nil || key != "0123456789abcdef" {
		t.Errorf("got key %q, %v", key, err)
	}
	if secret, err := ReadWebhookSecret(writeFile(t, " 0123456789abcdef\n", 0o600)); err != nil || secret != "0123456789abcdef" {
		t.Errorf("got the webhook's secret %q, %v", secret, err)
	}
	if secret, err := ReadWebhookSecret(writeFile(t, "0123456789abcde", 0o600)); err == nil {
		t.Errorf("got the webhook's secret %q, want an error", secret)
	}
	for _, text := range []string{"short", "0123456789 abcdef"} {
		if _, err := ReadAPIKey(writeFile(t, text, 0o600)); err == nil {
			t.Errorf("key %q: got no error, want one", text)
		}
	}
}

func TestSecretFileLargerThanTheLimitIsRefused(t *testing.T) {
	for size, fine := range map[int]bool{secretFileMax: true, secretFileMax + 1: false} {
		_, err := Load(map[string]string{"TURNKEY_SECRET_FILE": writeFile(t, strings.Repeat("s", size), 0o600)})
		if (err == nil) != fine {
			t.Errorf("%d bytes: got error %v, want fine: %t", size, err, fine)
		}
	}
}

func TestDangersAreWarnedOf(t *testing.T) {
	open := writeFile(t, "0123456789abcdef", 0o640)
	tests := []struct {
		name    string
		environ map[string]string
		want    string // "" = no warning
	}{
		{"readable by the group", map[string]string{"TURNKEY_SECRET_FILE": open}, "TURNKEY_SECRET_FILE: other users of this machine can read " + open + " (mode 0640); chmod 600 it, unless its group is there for turnkey"},
		{"guarded by systemd", map[string]string{"TURNKEY_API_KEY_FILE": open, "CREDENTIALS_DIRECTORY": filepath.Dir(open)}, ""},
		{"key readable by all", map[string]string{"TURNKEY_TLS_CERT": open, "TURNKEY_TLS_KEY": open}, "TURNKEY_TLS_KEY: other users of this machine can read " + open},
		{"every IPv4 peer", map[string]string{"TURNKEY_ALLOW_PEERS": "10.0.0.1,0.0.0.0/0:80"}, "TURNKEY_ALLOW_PEERS=0.0.0.0/0:80 lets relays reach every private network"},
		{"every IPv6 peer", map[string]string{"TURNKEY_ALLOW_PEERS": "::/0"}, "TURNKEY_ALLOW_PEERS=::/0 lets relays"},
		{"half of them", map[string]string{"TURNKEY_ALLOW_PEERS": "0.0.0.0/1"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(c.Warnings, "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got warnings %q, want %q", got, tt.want)
			}
		})
	}
}

// TestSecretsStayHidden makes every kind of fault around secrets and looks for them in the text.
func TestSecretsStayHidden(t *testing.T) {
	const canary = "kanarienvogel"
	for _, environ := range []map[string]string{
		{"TURNKEY_SECRET": canary},
		{"TURNKEY_SECRET": canary + "," + canary},
		{"TURNKEY_SECRET": "0123456789abcdef\n" + canary},
		{"TURNKEY_SECRET": canary + "0123456789,"},
		{"TURNKEY_SECRET": `"` + canary + `"`},
		{"TURNKEY_SECRET_FILE": writeFile(t, canary, 0o600)},
		{"TURNKEY_SECRET_FILE": writeFile(t, canary+"0123456789", 0o600), "TURNKEY_SECRET": canary},
		{"TURNKEY_API_KEY": canary},
		{"TURNKEY_API_KEY": canary + " " + canary},
		{"TURNKEY_API_KEY_FILE": writeFile(t, canary, 0o600)},
		{"TURNKEY_USERS": canary},
		{"TURNKEY_USERS": "a:" + canary + ",b:" + canary + ",b:" + canary},
		{"TURNKEY_USERS": canary + ":" + canary[:7]},
		{"TURNKEY_WEBHOOK_URL": "https://a.example/", "TURNKEY_WEBHOOK_SECRET": canary},
		{"TURNKEY_WEBHOOK_URL": "https://a.example/", "TURNKEY_WEBHOOK_SECRET_FILE": writeFile(t, canary, 0o600)},
		{"TURNKEY_SECERT": canary + "0123456789"},
	} {
		_, err := Load(environ)
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("got %v, want a fault without the secret", err)
		}
	}
	c, err := Load(map[string]string{"TURNKEY_SECRET": canary + "0123", "TURNKEY_API_KEY": canary + "4567", "TURNKEY_USERS": "a:" + canary,
		"TURNKEY_WEBHOOK_URL": "https://a.example/", "TURNKEY_WEBHOOK_SECRET_FILE": writeFile(t, canary+"89ab", 0o600)})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings() {
		if strings.Contains(s.Value+s.Default, canary) {
			t.Errorf("got %+v, want its value hidden", s)
		}
	}
}

func TestLongValuesAreShortened(t *testing.T) {
	_, err := Load(map[string]string{"TURNKEY_HTTP": strings.Repeat("long", 10000)})
	if got := len(err.Error()); got > 300 {
		t.Errorf("got a text of %d bytes, want a line", got)
	}
}

func TestStateDirectoryIsTheFirstThatSystemdNames(t *testing.T) {
	own, first := t.TempDir(), t.TempDir()
	environ := map[string]string{"STATE_DIRECTORY": first + ":/nowhere"}
	if c, err := Load(environ); err != nil || c.StateDir != first {
		t.Errorf("got %q, %v, want %q", c.StateDir, err, first)
	}
	environ["TURNKEY_STATE_DIR"] = own
	if c, err := Load(environ); err != nil || c.StateDir != own {
		t.Errorf("got %q, %v, want %q", c.StateDir, err, own)
	}
}

func TestAllowedPeersAreRead(t *testing.T) {
	c, err := Load(map[string]string{"TURNKEY_ALLOW_PEERS": "10.0.0.5:80,::ffff:192.168.0.0/112,[2001:db8::1]:1-65535,[fd00::/8]"})
	want := []PeerRule{
		{netip.MustParsePrefix("10.0.0.5/32"), PortRange{80, 80}},
		{netip.MustParsePrefix("192.168.0.0/16"), PortRange{}},
		{netip.MustParsePrefix("2001:db8::1/128"), PortRange{1, 65535}},
		{netip.MustParsePrefix("fd00::/8"), PortRange{}},
	}
	if err != nil || !reflect.DeepEqual(c.AllowPeers, want) {
		t.Errorf("got %v, %v, want %v", c.AllowPeers, err, want)
	}
}

// envFiles lists the files of one kind in testdata.
func envFiles(t testing.TB, kind string) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/" + kind + "-*.env")
	if err != nil || len(paths) == 0 {
		t.Fatalf("got %d files of kind %s, %v, want some", len(paths), kind, err)
	}
	return paths
}

// readEnvFile returns the variables of a file and what follows "# want: " in it.
func readEnvFile(t testing.TB, path string) (environ map[string]string, wants []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	environ = map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if want, found := strings.CutPrefix(lines.Text(), "# want: "); found {
			wants = append(wants, want)
		} else if name, value, found := strings.Cut(lines.Text(), "="); found && !strings.HasPrefix(name, "#") {
			environ[name] = value
		}
	}
	return environ, wants
}

func writeFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

func values(c Config) map[string]string {
	m := map[string]string{}
	for _, s := range c.Settings() {
		m[s.Name] = s.Value
	}
	return m
}
