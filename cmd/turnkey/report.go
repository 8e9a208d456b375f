package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"turnkey/configs"
)

// number is set by the release build: -ldflags "-X main.number=1.2.3".
var number = ""

// build is what `turnkey version` prints.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: number, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = strings.Trim(info.Main.Version, "()")
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

func version(c *call) error {
	var asJSON bool
	if _, err := c.flags("version", 0, func(f *flag.FlagSet) { jsonFlag(f, &asJSON) }); err != nil {
		return err
	}
	b := thisBuild()
	if asJSON {
		return c.printJSON(b)
	}
	_, err := fmt.Fprintf(c.stdout, "turnkey %s %s %s %s\n", b.Version, b.Revision, b.Go, b.Platform)
	return err
}

// config prints every setting. Values are those of the environment at hand,
// which need not be that of a running server.
func config(c *call) error {
	var asJSON bool
	if _, err := c.flags("config", 0, func(f *flag.FlagSet) { jsonFlag(f, &asJSON) }); err != nil {
		return err
	}
	cfg, err := configs.Load(c.environ)
	if err != nil {
		return err
	}
	if asJSON {
		return c.printJSON(cfg.Settings())
	}
	for _, s := range cfg.Settings() {
		value, origin := s.Value, "default"
		if value == "" {
			value = "(unset)"
		}
		if s.Set {
			origin = "set"
			if s.Default != "" {
				origin += ", default " + s.Default
			}
		}
		fmt.Fprintf(c.stdout, "%s = %s  [%s]\n%s\n\n", s.Name, value, origin, fold(s.Doc, "    ", 78))
	}
	return nil
}

func jsonFlag(f *flag.FlagSet, v *bool) { f.BoolVar(v, "json", false, "print JSON") }

func (c *call) printJSON(v any) error {
	e := json.NewEncoder(c.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// fold breaks text into indented lines of at most width characters.
func fold(text, indent string, width int) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width && line != indent {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return b.String() + line
}
