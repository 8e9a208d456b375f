package configs

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write example.env instead of comparing it")

func TestExampleFile(t *testing.T) {
	if *update {
		if err := os.WriteFile("example.env", Example(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("example.env")
	if err != nil {
		t.Fatal(err)
	}
	if want := Example(); !bytes.Equal(got, want) {
		t.Errorf("example.env is not what the settings say: run go generate ./configs\ngot:\n%s\nwant:\n%s", got, want)
	}
}

// TestExampleUncommentedIsTheDefaults sets every variable as example.env writes it.
func TestExampleUncommentedIsTheDefaults(t *testing.T) {
	environ := map[string]string{}
	for line := range strings.Lines(string(Example())) {
		if name, value, found := strings.Cut(strings.TrimPrefix(line, "#"), "="); found && strings.HasPrefix(name, Prefix) {
			environ[name] = value
		}
	}
	got, err := Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := Load(nil)
	if len(environ) != len(want.Settings()) {
		t.Errorf("got %d variables, want %d", len(environ), len(want.Settings()))
	}
	if !reflect.DeepEqual(values(got), values(want)) {
		t.Errorf("got %v, want %v", values(got), values(want))
	}
}

func TestSettingsAreDescribed(t *testing.T) {
	c, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	settings := c.Settings()
	exported := 0
	for i := range reflect.TypeFor[Config]().NumField() {
		if reflect.TypeFor[Config]().Field(i).IsExported() {
			exported++
		}
	}
	if want := exported - 1; len(settings) != want { // all but Warnings
		t.Errorf("got %d settings, want %d", len(settings), want)
	}
	for _, s := range settings {
		if !strings.HasPrefix(s.Name, Prefix) || len(s.Doc) < 30 || !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("got %q with the meaning %q, want a variable and a sentence", s.Name, s.Doc)
		}
		if s.Value != s.Default || s.Set {
			t.Errorf("%s: got %q (set: %t), want the default %q as the operator would write it", s.Name, s.Value, s.Set, s.Default)
		}
	}
}

func TestSettingsTellWhatIsSet(t *testing.T) {
	c, err := Load(map[string]string{"TURNKEY_PORT": "3478", "TURNKEY_REALM": "", "TURNKEY_SECRET": "0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings() {
		if want := s.Name == "TURNKEY_PORT" || s.Name == "TURNKEY_SECRET"; s.Set != want {
			t.Errorf("%s: got set %t, want %t", s.Name, s.Set, want)
		}
		if s.Name == "TURNKEY_SECRET" && (s.Value != "(hidden)" || !s.Secret) {
			t.Errorf("got %+v, want it hidden", s)
		}
	}
}
