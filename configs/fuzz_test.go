package configs

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// What a parser accepts, it must accept again in the form that it prints, and mean the same.
func roundTrip[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](t *testing.T, text string, same func(a, b T) bool) (v T, ok bool) {
	t.Helper()
	if err := P(&v).UnmarshalText([]byte(text)); err != nil {
		if p := (*problem)(nil); !errors.As(err, &p) || p.what == "" || p.fix == "" {
			t.Errorf("%q: got error %v, want a problem and a fix", text, err)
		}
		return v, false
	}
	var again T
	printed := fmt.Sprint(v)
	if err := P(&again).UnmarshalText([]byte(printed)); err != nil || !same(v, again) {
		t.Errorf("%q: got %v, %v after printing it as %q, want %v", text, again, err, printed, v)
	}
	return v, true
}

func equal[T comparable](a, b T) bool { return a == b }

func FuzzPortRange(f *testing.F) {
	for _, s := range []string{"49160-49359", "80", "500-100", "0-1", "-", "1-2-3", "+1", "65536", "tcp://10.0.0.1:3478", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := roundTrip(t, s, equal[PortRange]); ok && (r.Min == 0 || r.Min > r.Max || !r.Contains(r.Min) || !r.Contains(r.Max)) {
			t.Errorf("%q: got %+v, want 1 <= Min <= Max, both within", s, r)
		}
	})
}

func FuzzPeerRule(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "10.0.0.5:80-90", "[2001:db8::/32]:80-90", "[::1]", "[::1]:", "[::1]x", "::ffff:10.0.0.0/104", "::/0", "fe80::1%eth0", "10.1.2.3/8", "]:1", "[]:1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := roundTrip(t, s, equal[PeerRule])
		if ok && (r.Prefix != r.Prefix.Masked() || r.Prefix.Addr().Is4In6() || r.Prefix.Addr().Zone() != "") {
			t.Errorf("%q: got %+v, want a masked prefix of plain addresses", s, r)
		}
	})
}

func FuzzPublicIP(f *testing.F) {
	for _, s := range []string{"auto", "203.0.113.7", "::ffff:203.0.113.7", "2001:db8::7", "dns:Turn.Example.com.", "dns:", "dns:1.2.3.4", "dns:::1", "fe80::1%eth0", "0.0.0.0", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := roundTrip(t, s, equal[PublicIP])
		if _, err := netip.ParseAddr(p.DNS); ok && (err == nil || p.Addr.IsValid() && p.DNS != "" || p.Addr.Is4In6()) {
			t.Errorf("%q: got %+v, want a plain address or a name, not both", s, p)
		}
	})
}

func FuzzAltIP(f *testing.F) {
	for _, s := range []string{"203.0.113.8", "203.0.113.8/10.0.0.8", "::ffff:203.0.113.8/::ffff:10.0.0.8", "2001:db8::8/fd00::8", "203.0.113.8/", "/10.0.0.8", "203.0.113.8/fd00::8", "fe80::1%eth0", "203.0.113.8/24", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, ok := roundTrip(t, s, equal[AltIP])
		if ok && (!a.Addr.IsValid() || a.Addr.Is4In6() || a.Bound.IsValid() && a.Bound.Is4() != a.Addr.Is4()) {
			t.Errorf("%q: got %+v, want plain addresses of one family", s, a)
		}
	})
}

// FuzzLoad takes one variable a line. What Load accepts, it must accept again as Settings prints it.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"invalid", "valid"} {
		for _, path := range envFiles(f, pattern) {
			environ, _ := readEnvFile(f, path)
			var lines []string
			for name, value := range environ {
				lines = append(lines, name+"="+value)
			}
			f.Add(strings.Join(lines, "\n"))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Load(environOf(text))
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) || strings.Count(err.Error(), "\n") != len(faults)-1 {
				t.Errorf("got %v, want faults, one a line", err)
			}
			return
		}
		printed := map[string]string{}
		for _, s := range c.Settings() {
			if !s.Secret {
				printed[s.Name] = s.Value
			}
		}
		if c.Auth == AuthKey {
			printed["TURNKEY_API_KEY"] = "0123456789abcdef"
		}
		if c.WebhookURL != "" {
			printed["TURNKEY_WEBHOOK_SECRET"] = "0123456789abcdef"
		}
		again, err := Load(printed)
		if err != nil {
			t.Fatalf("got %v from what Settings prints, want no fault", err)
		}
		for name, value := range values(again) {
			if name != "TURNKEY_API_KEY" && name != "TURNKEY_SECRET" && name != "TURNKEY_WEBHOOK_SECRET" && value != printed[name] {
				t.Errorf("%s: got %q, want %q", name, value, printed[name])
			}
		}
	})
}

// environOf reads the variables of text but for those that would make Load look at any file there is.
func environOf(text string) map[string]string {
	environ := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasSuffix(name, "_FILE") && !strings.HasPrefix(strings.TrimPrefix(name, Prefix), "STATE_DIR") {
			environ[name] = value
		}
	}
	return environ
}
