package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rules says which imports are forbidden to which packages, and why. A package
// is named by the beginning of its path.
var rules = []struct {
	from      string   // packages that import
	but       []string // those of them that may
	forbidden []string // what they may not import
	except    []string // what of it they may
	why       string
}{
	{"turnkey/stunsrv", nil, []string{"turnkey/"}, nil, "only cmd knows other rooms"},
	{"turnkey/turnsrv", nil, []string{"turnkey/"}, []string{"turnkey/turnsrv"}, "only cmd knows other rooms"},
	{"turnkey/web", nil, []string{"turnkey/"}, []string{"turnkey/web"}, "only cmd knows other rooms"},
	{"turnkey/configs", nil, []string{"turnkey/"}, nil, "only cmd knows other rooms"},
	{"turnkey/signal", nil, []string{"turnkey/"}, []string{"turnkey/signal"}, "only cmd knows other rooms"},
	{"turnkey/nattest", nil, []string{"turnkey/"}, []string{"turnkey/nattest"}, "only cmd knows other rooms"},
	{"turnkey/nattest/around", nil, []string{"turnkey/nattest"}, nil, "what is around a NAT is judged without it"},
	{"turnkey/nattest/match", nil, []string{"net", "os", "context", "github.com/"}, []string{"net/netip"}, "a prediction does no I/O"},
	{"turnkey/docs", nil, []string{"turnkey/"}, nil, "only cmd knows other rooms"},
	{"turnkey/", []string{"turnkey/cmd"}, []string{"turnkey/configs"}, nil, "what the operator sets is mapped by cmd, not passed around"},
	{"turnkey/", []string{"turnkey/lab"}, []string{"turnkey/lab"}, nil, "lab is for tests"},
	{"turnkey/turnsrv/cred", nil, []string{"github.com/", "golang.org/"}, nil, "credentials need the standard library only"},
	{"turnkey/stunsrv", nil, []string{"github.com/"}, nil, "the responder is standard library only"},
	{"turnkey/configs", nil, []string{"github.com/pion"}, nil, "settings know nothing of what they set"},
	{"turnkey/signal", nil, []string{"github.com/pion"}, nil, "signaling relays descriptions and does not read media stacks"},
	{"turnkey/web", nil, []string{"github.com/pion"}, nil, "the HTTP face knows no media stack"},
	{"turnkey/", []string{"turnkey/turnsrv", "turnkey/nattest", "turnkey/lab"}, []string{"github.com/pion/turn"}, nil, "pion/turn stays behind the gate"},
	{"turnkey/", []string{"turnkey/nattest/icecheck", "turnkey/lab"}, []string{"github.com/pion/webrtc"}, nil, "a server needs no WebRTC stack"},
	{"turnkey/", []string{"turnkey/configs"}, []string{"github.com/caarlos0/env"}, nil, "the environment is read in one place"},
	{"turnkey/", nil, []string{"log"}, []string{"log/slog"}, "log/slog is used everywhere"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestLayers(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "turnkey/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, broken := range violations(p) {
			t.Error(broken)
		}
	}
	if seen < 5 {
		t.Errorf("got %d packages, want all of them", seen)
	}
}

// The table of docs/design.md has every room of the server.
func TestRoomsAreOnTheMap(t *testing.T) {
	page, err := os.ReadFile("../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "turnkey/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for room := range strings.FieldsSeq(string(out)) {
		room = strings.TrimPrefix(room, "turnkey/")
		part, _, _ := strings.Cut(room, "/")
		if part != "lab" && part != "ci" && !strings.Contains(string(page), "`"+room+"`") {
			t.Errorf("%s is not there", room)
		}
	}
}

// violations lists the rules that a package breaks.
func violations(p listed) (broken []string) {
	has := func(list []string, name string) bool {
		return slices.ContainsFunc(list, func(prefix string) bool {
			return name == prefix || strings.HasPrefix(name, strings.TrimSuffix(prefix, "/")+"/")
		})
	}
	for _, r := range rules {
		if !has([]string{r.from}, p.ImportPath) || has(r.but, p.ImportPath) {
			continue
		}
		for _, name := range p.Imports {
			if has(r.forbidden, name) && !has(r.except, name) {
				broken = append(broken, p.ImportPath+" imports "+name+": "+r.why)
			}
		}
	}
	return broken
}

func TestViolationsAreSeen(t *testing.T) {
	for _, p := range []listed{
		{"turnkey/web", []string{"turnkey/turnsrv"}},
		{"turnkey/web", []string{"github.com/pion/stun/v3"}},
		{"turnkey/cmd/turnkey", []string{"github.com/pion/turn/v4"}},
		{"turnkey/cmd/turnkey", []string{"log"}},
		{"turnkey/turnsrv/cred", []string{"golang.org/x/crypto"}},
		{"turnkey/signal", []string{"turnkey/configs"}},
		{"turnkey/nattest/match", []string{"net"}},
		{"turnkey/nattest/around", []string{"turnkey/nattest/match"}},
	} {
		if len(violations(p)) == 0 {
			t.Errorf("%s may import %v", p.ImportPath, p.Imports)
		}
	}
	for _, p := range []listed{
		{"turnkey/cmd/turnkey", []string{"turnkey/web", "turnkey/configs", "log/slog"}},
		{"turnkey/turnsrv", []string{"turnkey/turnsrv/cred", "github.com/pion/turn/v4"}},
		{"turnkey/configs", []string{"github.com/caarlos0/env/v11"}},
		{"turnkey/nattest/match", []string{"turnkey/nattest", "turnkey/nattest/around", "net/netip"}},
	} {
		if got := violations(p); len(got) != 0 {
			t.Errorf("got %v, want none", got)
		}
	}
}
