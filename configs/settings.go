package configs

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// Setting describes one setting and its present value.
type Setting struct {
	Name    string `json:"name"`             // the variable, with its prefix
	Default string `json:"default"`          // empty if there is none, or if Doc says what stands in
	Value   string `json:"value"`            // in effect; of a secret only whether there is one: "(hidden)" or empty
	Doc     string `json:"doc"`              // one sentence: meaning and range
	Set     bool   `json:"set"`              // whether the environment set it
	Secret  bool   `json:"secret,omitempty"` // whether its value is to be kept from view
}

// Settings lists every setting, in the order of the fields of [Config].
func (c Config) Settings() []Setting {
	v := reflect.ValueOf(c)
	var settings []Setting
	for _, f := range settingFields() {
		s := Setting{Name: f.name, Default: f.def, Value: format(v.Field(f.index)), Doc: f.doc, Set: c.set[f.name], Secret: f.secret}
		if s.Secret && s.Value != "" {
			s.Value = "(hidden)"
		}
		settings = append(settings, s)
	}
	return settings
}

// Example is the text of example.env: every setting with its meaning, commented out at its default.
func Example() []byte {
	var b bytes.Buffer
	b.WriteString("# Every setting of turnkey with its default. To change one, remove the # before its name.\n" +
		"# For docker run --env-file, Compose env_file and systemd EnvironmentFile: no quotes around values.\n")
	for _, f := range settingFields() {
		b.WriteByte('\n')
		line := "#"
		for word := range strings.FieldsSeq(f.doc) {
			if len(line)+len(word) > 98 {
				b.WriteString(line + "\n")
				line = "#"
			}
			line += " " + word
		}
		fmt.Fprintf(&b, "%s\n#%s=%s\n", line, f.name, f.def)
	}
	return b.Bytes()
}

// field is what the tags of one field of [Config] say.
type field struct {
	index  int
	goName string
	name   string // with the prefix
	def    string
	doc    string
	secret bool
}

// settingFields reads the tags of [Config].
func settingFields() []field {
	var fields []field
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("env")
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, field{
			index: i, goName: f.Name, name: Prefix + name,
			def: f.Tag.Get("envDefault"), doc: f.Tag.Get("doc"), secret: f.Tag.Get("secret") == "true",
		})
	}
	return fields
}

// format writes a value as the operator would.
func format(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		entries := make([]string, v.Len())
		for i := range entries {
			entries[i] = format(v.Index(i))
		}
		return strings.Join(entries, ",")
	}
	switch x := v.Interface().(type) {
	case slog.Level:
		return strings.ToLower(x.String())
	case netip.AddrPort:
		if !x.IsValid() {
			return ""
		}
		return x.String()
	case time.Duration:
		return short(x)
	default:
		return fmt.Sprint(x)
	}
}

// short is d without the zero minutes and seconds that String appends to hours.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
