//go:build linux

package nat

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"turnkey/lab/need"
	"turnkey/lab/netns"
)

// tool is a program that names a NAT, and the words it has for that.
type tool struct {
	name  string
	args  func(ip string) []string
	words []struct{ words, mapping, filtering string }
}

// others are tools that know what nattest knows, as Debian has them.
var others = []tool{
	{"turnutils_natdiscovery", func(ip string) []string { return []string{"-m", "-f", "-L", ip, server} }, []struct{ words, mapping, filtering string }{
		{"NAT with Endpoint Independent Mapping!", eim, ""},
		{"NAT with Address Dependent Mapping!", adm, ""},
		{"NAT with Address and Port Dependent Mapping!", apdm, ""},
		{"NAT with Endpoint Independent Filtering!", "", eif},
		{"NAT with Address Dependent Filtering!", "", adf},
		{"NAT with Address and Port Dependent Filtering!", "", apdf},
	}},
	{"stun", func(string) []string { return []string{server} }, []struct{ words, mapping, filtering string }{
		{"Primary: Open", eim, eif},
		{"Primary: Independent Mapping, Independent Filter", eim, eif},
		{"Primary: Independent Mapping, Address Dependent Filter", eim, adf},
		{"Primary: Independent Mapping, Port Dependent Filter", eim, apdf},
		{"Primary: Dependent Mapping", adm + " " + apdm, ""},
		{"Primary: Firewall", eim, apdf},
	}},
}

// ask runs the tool on a machine and returns what it says of the NAT: several
// words mean one of them, none means that it does not say.
func (o tool) ask(t *testing.T, h *netns.Host, ip string) (mapping, filtering string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, _ := h.Command(ctx, o.name, o.args(ip)...).CombinedOutput() // the exit code tells nothing
	for _, w := range o.words {
		if strings.Contains(string(out), w.words) {
			mapping, filtering = cmp.Or(w.mapping, mapping), cmp.Or(w.filtering, filtering)
		}
	}
	return mapping, filtering
}

// grade says whether an answer is right: the truth is the first of the words of
// want, or any of them where that is unknown; an answer without one is open.
func grade(got, want string) string {
	words := strings.Fields(want)
	switch {
	case len(words) == 0:
		return ""
	case got == "" || got == unknown || got == "not_tested":
		return "open"
	case words[0] != unknown:
		words = words[:1]
	}
	for _, w := range words {
		if slices.Contains(strings.Fields(got), w) {
			return "right"
		}
	}
	return "wrong"
}

// worst is the grade of an answer with two parts.
func worst(grades ...string) string {
	for _, g := range []string{"wrong", "open"} {
		if slices.Contains(grades, g) {
			return g
		}
	}
	return "right"
}

// TestOtherToolsBesideUs runs the tools where nattest runs, against the same
// server. On the plain NATs they prove the server; where they err, nattest may
// not: that is what the table of docs/nat.md is from.
func TestOtherToolsBesideUs(t *testing.T) {
	need.Programs(t, others[0].name, others[1].name)
	w := internet(t)
	runs, list := 1, []topology{}
	for _, tt := range slices.Concat(topologies, tricks) {
		if tt.host == "" && !tt.want.v6 && !tt.scarce && (need.Long() || plain(tt)) {
			list = append(list, tt)
		}
	}
	if need.Long() {
		runs = 5
	}
	table := newGrades()
	t.Run("topologies", func(t *testing.T) {
		for _, tt := range list {
			for _, percent := range []int{0, 30} {
				if percent > 0 && (!need.Long() || !tt.lossy) {
					continue
				}
				t.Run(fmt.Sprintf("%s, %d percent", tt.name, percent), func(t *testing.T) {
					client, forget := tt.put(t, w)
					ip := addressOf(t, client)
					if percent > 0 {
						lose(t, client, percent)
					}
					t.Parallel()
					name := tt.name
					if percent > 0 {
						name += fmt.Sprintf(", %d %% loss", percent)
					}
					for range runs {
						for _, o := range others {
							forget()
							m, f := o.ask(t, client, ip)
							g := worst(grade(m, tt.want.mapping), grade(f, tt.want.filtering))
							table.add(name, o.name, g)
							// An unmodified client of RFC 5780, on a plain NAT.
							if o.name == others[0].name && percent == 0 && g != "right" && plain(tt) {
								t.Errorf("%s says %q and %q, want %s and %s", o.name, m, f, tt.want.mapping, tt.want.filtering)
							}
						}
						forget()
						var r report
						got := turnkey(t, client, apiKey, "nattest", "-json", both)
						got.decode(t, &r)
						table.add(name, "nattest", worst(grade(r.V4.Mapping.Behavior, tt.want.mapping), grade(r.V4.Filtering.Behavior, tt.want.filtering)))
					}
				})
			}
		}
	})
	table.log(t, "nattest", others[0].name, others[1].name)
}

// plain says that a topology is one of the NATs of RFC 4787 that natdiscovery
// names. It takes address-dependent mapping for address-and-port-dependent: its
// third request goes to the OTHER-ADDRESS of the second answer, which is the
// alternate of the alternate, hence the first address again.
func plain(tt topology) bool {
	return slices.Contains([]string{"no NAT", "EIM EIF", "one to one", "EIM ADF", "EIM APDF", "APDM EIF", "APDM ADF", "APDM APDF"}, tt.name)
}

// addressOf returns a machine's own address.
func addressOf(t *testing.T, h *netns.Host) string {
	t.Helper()
	conn, err := h.Dial(t.Context(), "udp4", server+":3478")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ip, _, _ := strings.Cut(conn.LocalAddr().String(), ":")
	return ip
}

// grades counts who was right where.
type grades struct {
	mu   sync.Mutex
	rows []string
	of   map[string]map[string]map[string]int // row, column, grade
}

func newGrades() *grades { return &grades{of: map[string]map[string]map[string]int{}} }

func (g *grades) add(row, column, grade string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of[row] == nil {
		g.of[row] = map[string]map[string]int{}
		g.rows = append(g.rows, row)
	}
	if g.of[row][column] == nil {
		g.of[row][column] = map[string]int{}
	}
	g.of[row][column][grade]++
}

// log prints the table in the form that docs/nat.md has.
func (g *grades) log(t *testing.T, columns ...string) {
	t.Helper()
	lines := []string{"| | " + strings.Join(columns, " | ") + " |", "|---" + strings.Repeat("|---", len(columns)) + "|"}
	slices.Sort(g.rows)
	for _, row := range g.rows {
		line := "| " + row
		for _, c := range columns {
			n := g.of[row][c]
			var cell []string
			for _, grade := range slices.Sorted(maps.Keys(n)) {
				cell = append(cell, fmt.Sprintf("%d %s", n[grade], grade))
			}
			line += " | " + strings.Join(cell, ", ")
		}
		lines = append(lines, line+" |")
	}
	t.Log("\n" + strings.Join(lines, "\n"))
}
