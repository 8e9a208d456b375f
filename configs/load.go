package configs

import (
	"cmp"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Load reads the settings from environ, a map of variables as of [os.Environ]. It looks at nothing
// but the variables that begin with [Prefix], at STATE_DIRECTORY and CREDENTIALS_DIRECTORY, which
// systemd sets, and at the files and the directory that they name. An error is always of type
// [Faults]; the Config is then empty.
func Load(environ map[string]string) (Config, error) {
	l := loader{
		environ: environ,
		fields:  settingFields(),
		values:  map[string]string{},
		refused: map[string]bool{},
	}
	l.collect()
	l.parse()
	l.check()
	l.readSecrets()
	l.findStateDir()
	if len(l.faults) > 0 {
		slices.SortStableFunc(l.faults, func(a, b Fault) int { return cmp.Compare(l.rank(a.Name), l.rank(b.Name)) })
		return Config{}, l.faults
	}
	return l.cfg, nil
}

// loader is one run of [Load]. Names have their prefix everywhere but in calls of refuse.
type loader struct {
	environ map[string]string
	fields  []field
	values  map[string]string // the known settings that are set, trimmed
	refused map[string]bool   // settings whose value could not even be read
	cfg     Config
	faults  Faults
}

// collect picks the settings out of the environment and refuses variables that are none.
func (l *loader) collect() {
	l.cfg.set = map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(l.environ)) {
		if !strings.HasPrefix(name, Prefix) {
			continue
		}
		if l.rank(name) == len(l.fields) {
			l.faults = append(l.faults, unknown(name, l.fields))
			continue
		}
		value := strings.TrimSpace(l.environ[name])
		if value == "" {
			continue
		}
		l.values[name] = value
		l.cfg.set[name] = true
	}
	for name, value := range l.values {
		if first := value[0]; (first == '"' || first == '\'') && len(value) > 1 && value[len(value)-1] == first {
			l.refuseUnread(name, &problem{"the quotes are part of the value", "write it without them"})
		}
	}
}

// parse fills the Config from the values and the defaults, all but what check and those after it do.
func (l *loader) parse() {
	readable := maps.Clone(l.values)
	maps.DeleteFunc(readable, func(name, _ string) bool { return l.refused[name] })
	err := env.ParseWithOptions(&l.cfg, env.Options{
		Environment: readable, // never nil: nil would be the environment of the process
		Prefix:      Prefix,
		FuncMap:     parsers(),
	})
	var all env.AggregateError
	if !errors.As(err, &all) {
		return
	}
	for _, err := range all.Errors {
		// The library names the field of the struct; the operator needs the variable.
		var parse env.ParseError
		if !errors.As(err, &parse) {
			panic("configs: a field of Config cannot be read: " + err.Error())
		}
		switch parse.Type { // these read themselves, and offer no fix
		case reflect.TypeFor[slog.Level]():
			parse.Err = &problem{"no such level", "write debug, info, warn or error"}
		case reflect.TypeFor[netip.AddrPort]():
			parse.Err = errNoAddrPort()
		}
		at := slices.IndexFunc(l.fields, func(f field) bool { return f.goName == parse.Name })
		l.refuseUnread(l.fields[at].name, parse.Err)
	}
}

// parsers are the types whose form the library does not know, or knows without a fix to offer.
func parsers() map[reflect.Type]env.ParserFunc {
	return map[reflect.Type]env.ParserFunc{
		reflect.TypeFor[uint16]():         func(s string) (any, error) { return parsePort(s) },
		reflect.TypeFor[int]():            func(s string) (any, error) { return parseNumber(s) },
		reflect.TypeFor[int64]():          func(s string) (any, error) { n, err := parseNumber(s); return int64(n), err },
		reflect.TypeFor[time.Duration]():  func(s string) (any, error) { return parseDuration(s) },
		reflect.TypeFor[[]string]():       func(s string) (any, error) { return parseList(s, parseWord) },
		reflect.TypeFor[[]netip.Addr]():   func(s string) (any, error) { return parseList(s, parseListenAddr) },
		reflect.TypeFor[[]netip.Prefix](): func(s string) (any, error) { return parseList(s, parsePrefix) },
		reflect.TypeFor[[]PeerRule]():     func(s string) (any, error) { return parseList(s, parsePeerRule) },
		reflect.TypeFor[[]User]():         func(s string) (any, error) { return parseUsers(s) },
	}
}

// refuseUnread records that a setting's value cannot be read, so that later checks leave it alone.
func (l *loader) refuseUnread(name string, err error) {
	l.refuse(strings.TrimPrefix(name, Prefix), err)
	l.refused[name] = true
}

// refuse records why a setting, named without its prefix, cannot be used. A nil error is none.
func (l *loader) refuse(short string, err error) {
	name := Prefix + short
	if err == nil || l.refused[name] {
		return
	}
	f := Fault{Name: name, Value: l.values[name], Problem: err.Error(), Fix: "see turnkey config"}
	if l.fields[l.rank(name)].secret {
		f.Value = ""
	}
	if p := (*problem)(nil); errors.As(err, &p) {
		f.Problem, f.Fix = p.what, p.fix
	}
	l.faults = append(l.faults, f)
}

// rank is the place of a setting in the struct, and the number of settings for any other name.
func (l *loader) rank(name string) int {
	at := slices.IndexFunc(l.fields, func(f field) bool { return f.name == name })
	if at < 0 {
		return len(l.fields)
	}
	return at
}
