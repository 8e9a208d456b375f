package nattest

import (
	"io"
	"slices"
	"strings"

	"turnkey/nattest/around"
)

// because says in a sentence what the prediction rests on.
func because(a, b *Family, prediction string) string {
	ma, mb := named(a.Mapping.Possible), named(b.Mapping.Possible)
	disturbed := a.InboundDisturbs == "yes" || b.InboundDisturbs == "yes"
	pooled := ma&eim == 0 && a.Pooling == "arbitrary" || mb&eim == 0 && b.Pooling == "arbitrary"
	switch {
	case prediction == unlikelyDirect && pooled:
		return "One sends from several public addresses, and the other lets packets in from the one it was told only."
	case prediction == Unknown && disturbed, prediction == unlikelyDirect && disturbed:
		return "Both keep one public address, but the packets with which one opens its way change the mapping that the other was told: the router takes new packets from the internet."
	case prediction == Unknown:
		return "What is known of the two NATs allows either."
	case prediction == direct && ma == eim && mb == eim:
		return "Both keep one public address and port whatever the destination, so each finds the other where it was told."
	case prediction == direct:
		return "One changes its public port with the destination, but the other keeps its own and lets packets in from any port."
	case prediction == likelyDirect && ma&eim != 0 && mb&eim != 0:
		return "Both keep one public address and port, as far as could be tested."
	case prediction == likelyDirect:
		return "The mapping changes with the destination, but one lets anybody in, and NATs that answer through the flow that came in (Linux's do) then make it work."
	case ma&eim == 0 && mb&eim == 0:
		return "Both change their public port with the destination, so neither can be told where the other will come from."
	}
	return "One changes its public port with the destination, and the other lets packets in from no port but the one it sent to."
}

// advise says what to do about the prediction.
func (p *Pair) advise() {
	switch p.Prediction {
	case direct:
		p.Advice = "No relay is needed between these two."
	case likelyDirect:
		p.Advice = "Offer TURN all the same: this is likely, not certain."
	default:
		p.Advice = "Offer TURN to both; a relay at one of the two suffices."
	}
}

// relays adds what the reports say of TURN, where that matters, and of routers
// that open ports.
func (p *Pair) relays(a, b *Report) {
	if p.ExitCode() == 0 {
		return
	}
	switch failed := []bool{a.TURN.State == "failed", b.TURN.State == "failed"}; {
	case failed[0] && failed[1]:
		p.Caveats = append(p.Caveats, "TURN failed at both: without a relay that works there is no connection")
	case failed[0]:
		p.Caveats = append(p.Caveats, "TURN failed at A: only B can have a relay")
	case failed[1]:
		p.Caveats = append(p.Caveats, "TURN failed at B: only A can have a relay")
	case a.TURN.State != "ok" && b.TURN.State != "ok":
		p.Caveats = append(p.Caveats, "TURN was tested at neither")
	}
	for i, r := range []*Report{a, b} {
		if r.opensPorts() {
			p.Caveats = append(p.Caveats, "the router of "+"AB"[i:i+1]+" opens ports for who asks (UPnP, NAT-PMP or PCP): an application there that does is reached directly")
		}
	}
}

// opensPorts says that a port opened on the router is open to the internet: it
// has the public address itself.
func (r *Report) opensPorts() bool {
	if r.Around == nil {
		return false
	}
	return slices.ContainsFunc([]around.Protocol{r.Around.UPnP, r.Around.NATPMP, r.Around.PCP}, func(p around.Protocol) bool {
		return p.Mapping == around.Yes && slices.ContainsFunc(r.V4.Mapped, func(m Mapped) bool { return m.Address == p.External })
	})
}

var pairTitles = map[string]string{
	direct:         "DIRECT",
	likelyDirect:   "DIRECT, LIKELY",
	unlikelyDirect: "DIRECT IS UNLIKELY: PLAN A RELAY",
	relayNeeded:    "RELAY NEEDED",
	Unknown:        "NOBODY CAN TELL",
}

// WriteText writes the prediction for a person, the first line first.
func (p *Pair) WriteText(w io.Writer) {
	var l lines
	l.add("why", p.Reason)
	l.add("do", p.Advice)
	l.add("A", p.A.text())
	l.add("B", p.B.text())
	for _, c := range p.Caveats {
		l.add("note", c)
	}
	title := pairTitles[p.Prediction]
	if p.Family != "" {
		title += " over " + strings.Replace(p.Family, "v", "IPv", 1)
	}
	l.print(w, title)
}

func (p Peer) text() string {
	return clean(p.V4) + ", " + clean(p.V6) + ", TURN " + strings.ReplaceAll(p.TURN, "_", " ") + ", seen by " + clean(p.Server) + " at " + p.Time.UTC().Format("2006-01-02 15:04") + " UTC"
}
