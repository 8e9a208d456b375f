package nattest

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

var titles = map[string]string{
	notRequired: "RELAY NOT REQUIRED",
	unlikely:    "RELAY UNLIKELY TO BE NEEDED",
	likely:      "RELAY LIKELY TO BE NEEDED",
	required:    "RELAY REQUIRED",
	Unknown:     "INCONCLUSIVE",
}

// WriteText writes the report for a person: the verdict, then at most 20 lines
// of 80 columns (a long URL may exceed them).
func (r *Report) WriteText(w io.Writer) {
	l, left := fit(r.sections(), maxLines)
	if left > 0 {
		l, left = fit(r.sections(), maxLines-1)
		l = append(l, fmt.Sprintf("  (%d more %s: see -verbose)", left, plural(left, "line")))
	}
	l.print(w, r.title())
}

// sections is the text below the title.
func (r *Report) sections() []section {
	all := make([]section, 8)
	s := all
	next := func(matters int) *lines {
		l := &s[0].lines
		s[0].matters, s = matters, s[1:]
		return l
	}
	l := next(9)
	l.add("why", r.Verdict.Reason)
	l.add("peers", r.Verdict.Scope)
	l.add("do", r.Verdict.Advice)
	r.V4.write(next(8), "IPv4")
	r.V4.writeOptIn(next(4))
	r.V6.write(next(5), "IPv6")
	r.V6.writeOptIn(next(3))
	r.TURN.write(next(7))
	l = next(6)
	if r.Around != nil {
		for _, line := range r.Around.Lines() {
			l.add(line.Label, line.Text)
		}
	}
	l, label := next(2), "note"
	for _, note := range slices.Concat(r.Verdict.Caveats, r.Server.Notes) {
		l.add(label, note)
		label = ""
	}
	return all
}

// title is the verdict in one line.
func (r *Report) title() string {
	title, f, classic := titles[r.Verdict.Relay], r.decisive(), ""
	switch name := mappingName(f); {
	case f.UDP == "blocked":
		title += ": UDP is blocked"
	case f.UDP == "partial" && r.Verdict.Relay == Unknown:
		title += ": UDP " + f.silent() + " silent"
	case f.Classic == "symmetric firewall":
		title += ": no NAT, but a firewall"
	case f.Mapping.split:
		title += ": the NAT is unsteady"
	case f.Mapping.Behavior == AddressAndPortDependent:
		title += ": symmetric NAT"
	case f.InboundDisturbs == "yes":
		title += ": unsolicited packets disturb the NAT"
	case name != "":
		title += ": " + name
		if f.NAT != "no" && f.Classic != "" && !strings.Contains(name, f.Classic) {
			classic = " (" + f.Classic + ")"
		}
	}
	end := ""
	if r.Verdict.Relay == likely || r.Verdict.Relay == required {
		end = map[string]string{"ok": "; TURN works", "failed": "; TURN FAILS", NotTested: "; TURN not tested"}[r.TURN.State]
	}
	if len(title+classic+end) > columns {
		classic = ""
	}
	return title + classic + end
}

// decisive is the family that the verdict rests on.
func (r *Report) decisive() *Family {
	if r.V4.UDP == "not_tested" && r.V6.UDP != "not_tested" {
		return &r.V6
	}
	return &r.V4
}

// mappingName is the mapping in words, "" when nothing is known.
func mappingName(f *Family) string {
	switch {
	case f.NAT == "no":
		return "no NAT"
	case f.Mapping.Behavior != Unknown:
		return f.Mapping.Behavior + " mapping"
	case f.UDP != "not_tested" && slices.Equal(f.Mapping.Possible, []string{EndpointIndependent, AddressDependent}):
		return EndpointIndependent + " or " + AddressDependent + " mapping"
	case f.UDP != "not_tested" && len(f.Mapping.Possible) == 2 && !slices.Contains(f.Mapping.Possible, EndpointIndependent):
		return "symmetric NAT"
	}
	return ""
}

func (f *Family) write(l *lines, label string) {
	switch f.UDP {
	case NotTested:
		l.add(label, "not tested: "+f.Why)
		return
	case "blocked":
		l.add(label, "UDP blocked: "+f.answers())
		return
	case "no_answer":
		l.add(label, "nothing over UDP: "+f.answers())
		return
	}
	name := mappingName(f)
	if name == "" {
		name = "mapping unknown"
	}
	if f.Mapping.Behavior != Unknown {
		name += fmt.Sprintf(" (confidence %s: %d %s)", f.Mapping.Level, len(f.Trials), plural(len(f.Trials), "socket"))
	}
	if f.NAT64 == "yes" {
		name += ", through a NAT64"
	}
	l.add(label, name)
	l.add("", f.filteringName())
	if f.Classic != "" {
		l.add("", fmt.Sprintf("RFC 3489 calls this %q", f.Classic))
	}
	if len(f.Trials) > 0 && len(f.Mapped) > 0 {
		seen := fmt.Sprintf("%s is seen as %s", f.Trials[0].Local.Addr(), f.Mapped[0].Address)
		switch {
		case f.NAT == "no":
			seen = f.Mapped[0].Address.String() + " is seen as it is"
		case f.Trials[0].Local.Addr().IsUnspecified(): // a browser hides it
			seen = "this browser is seen as " + f.Mapped[0].Address.String()
		}
		if n := len(f.Mapped) - 1; n > 0 {
			seen += fmt.Sprintf(" and %d more", n)
		}
		l.add("", seen)
	}
	answers := f.answers()
	if f.RTTMS > 0 {
		answers += fmt.Sprintf("; %.1f ms", f.RTTMS)
	}
	if f.Loss >= 0.005 {
		answers += fmt.Sprintf("; %.0f %% of the requests unanswered", 100*f.Loss)
	}
	l.add("", answers)
}

// filteringName is the filtering in words.
func (f *Family) filteringName() string {
	g := f.Filtering
	switch {
	case g.Behavior == NotTested:
		return "filtering not tested"
	case g.Behavior != Unknown:
		return fmt.Sprintf("%s filtering (confidence %s: %d %s)", g.Behavior, g.Level, g.Rounds.Sent, plural(g.Rounds.Sent, "round"))
	case len(g.Possible) > 0 && len(g.Possible) < 3:
		return strings.Join(g.Possible, " or ") + " filtering"
	}
	return "filtering unknown"
}

// answers says how many of the sockets each endpoint answered.
func (f *Family) answers() string {
	var addrs, ports []string
	asked, answered := 0, 0
	for _, e := range f.Endpoints {
		asked, answered = asked+e.Asked, answered+e.Answered
		addrs, ports = append(addrs, e.Endpoint.Addr().String()), append(ports, strconv.Itoa(int(e.Endpoint.Port())))
	}
	if asked == answered && asked > 0 {
		return fmt.Sprintf("%d/%d answers from %s (%s)", answered, asked, distinct(addrs), distinct(ports))
	}
	by := map[string]string{}
	var counts []string
	for _, e := range f.Endpoints {
		n := fmt.Sprintf("%d/%d answers", e.Answered, e.Asked)
		if e.Answered == 0 {
			n = "no answer"
		}
		if by[n] == "" {
			counts = append(counts, n)
			by[n] = n + " from " + e.Endpoint.String()
		} else {
			by[n] += ", " + e.Endpoint.String()
		}
	}
	for i, n := range counts {
		counts[i] = by[n]
	}
	return strings.Join(counts, "; ")
}

func (r *Relay) write(l *lines) {
	switch r.State {
	case "ok":
		var over []string
		for _, u := range r.URLs {
			if u.State == "ok" {
				over = append(over, fmt.Sprintf("%s (%.1f ms)", u.transport(), u.RTTMS))
			}
		}
		l.add("TURN", "works over "+strings.Join(over, ", "))
		l.more(r.Why)
		l.more(r.Hint)
	case "failed":
		l.add("TURN", "DOES NOT WORK over any URL")
	default:
		l.add("TURN", "not tested: "+r.Why)
	}
	for _, u := range r.URLs {
		switch u.State {
		case "failed":
			l.add("", u.transport()+" FAILED at "+u.Failed+": "+u.Reason)
			l.more(u.Hint)
		case NotTested:
			l.add("", u.transport()+" not tested: "+u.Reason)
		}
		for _, note := range u.Notes {
			l.more(u.transport() + ": " + note)
		}
	}
}

// writeOptIn writes what the tests that were asked for have found.
func (f *Family) writeOptIn(l *lines) {
	if f.UDP == NotTested {
		return
	}
	tell := func(what, state, why, found string) {
		switch {
		case why == "" && (state == NotTested || state == ""): // not asked for
		case state == NotTested, state == Unknown:
			l.add("", what+" "+words(state)+": "+why)
		default:
			l.add("", found)
		}
	}
	hairpin := "hairpinning: no, packets to the own public address are refused"
	if h := f.Hairpin; h.State == "yes" {
		hairpin = fmt.Sprintf("hairpinning: yes, with %s source %s", h.Source, h.From)
	}
	tell("hairpinning", f.Hairpin.State, f.Hairpin.Why, hairpin)
	life := f.Lifetime
	tell("lifetime", life.State, life.Why, fmt.Sprintf("an idle mapping lives %s; one in steady use %s", life.OneShot, life.Stream))
	frag := f.Fragments
	tell("fragments", frag.State, frag.Why, fmt.Sprintf("fragments (datagrams of %d bytes): out %s, in %s", frag.Bytes, words(frag.Outbound), words(frag.Inbound)))
	gateway := "no gateway rewrites addresses inside packets"
	if a := f.ALG; a.State == "yes" {
		gateway = fmt.Sprintf("a gateway rewrites addresses inside packets (ALG): in requests %s, in answers %s", a.Outbound, a.Inbound)
	}
	tell("gateway", f.ALG.State, f.ALG.Why, gateway)
}
