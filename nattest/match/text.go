package match

import (
	"io"
	"slices"
	"strings"

	"turnkey/nattest"
	"turnkey/nattest/around"
)

// because says in a sentence what the prediction rests on.
func because(a, b *nattest.Family, prediction string) string {
	ma, mb := possible(a.Mapping.Possible), possible(b.Mapping.Possible)
	keeps := func(mapping []string) bool { return slices.Contains(mapping, independent) } // it may, at least
	certain := func(mapping []string) bool { return keeps(mapping) && len(mapping) == 1 }
	disturbed := a.InboundDisturbs == "yes" || b.InboundDisturbs == "yes"
	pooled := !keeps(ma) && a.Pooling == "arbitrary" || !keeps(mb) && b.Pooling == "arbitrary"
	switch {
	case prediction == unlikelyDirect && pooled:
		return "One sends from several public addresses, and the other lets packets in from the one it was told only."
	case prediction == nattest.Unknown && disturbed, prediction == unlikelyDirect && disturbed:
		return "Both keep one public address, but the packets with which one opens its way change the mapping that the other was told: the router takes new packets from the internet."
	case prediction == nattest.Unknown:
		return "What is known of the two NATs allows either."
	case prediction == direct && certain(ma) && certain(mb):
		return "Both keep one public address and port whatever the destination, so each finds the other where it was told."
	case prediction == direct:
		return "One changes its public port with the destination, but the other keeps its own and lets packets in from any port."
	case prediction == likelyDirect && keeps(ma) && keeps(mb):
		return "Both keep one public address and port, as far as could be tested."
	case prediction == likelyDirect:
		return "The mapping changes with the destination, but one lets anybody in, and NATs that answer through the flow that came in (Linux's do) then make it work."
	case !keeps(ma) && !keeps(mb):
		return "Both change their public port with the destination, so neither can be told where the other will come from."
	}
	return "One changes its public port with the destination, and the other lets packets in from no port but the one it sent to."
}

// advise says what to do about the prediction.
func (p *Prediction) advise() {
	switch p.Outcome {
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
func (p *Prediction) relays(a, b *nattest.Report) {
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
	for i, r := range []*nattest.Report{a, b} {
		if opensPorts(r) {
			p.Caveats = append(p.Caveats, "the router of "+"AB"[i:i+1]+" opens ports for who asks (UPnP, NAT-PMP or PCP): an application there that does is reached directly")
		}
	}
}

// opensPorts says that a port opened on the router is open to the internet: it
// has the public address itself.
func opensPorts(r *nattest.Report) bool {
	if r.Around == nil {
		return false
	}
	return slices.ContainsFunc([]around.Protocol{r.Around.UPnP, r.Around.NATPMP, r.Around.PCP}, func(p around.Protocol) bool {
		return p.Mapping == around.Yes && slices.ContainsFunc(r.V4.Mapped, func(m nattest.Mapped) bool { return m.Address == p.External })
	})
}

var titles = map[string]string{
	direct:          "DIRECT",
	likelyDirect:    "DIRECT, LIKELY",
	unlikelyDirect:  "DIRECT IS UNLIKELY: PLAN A RELAY",
	relayNeeded:     "RELAY NEEDED",
	nattest.Unknown: "NOBODY CAN TELL",
}

// WriteText writes the prediction for a person, the first line first.
func (p *Prediction) WriteText(w io.Writer) {
	text := []around.Line{{Label: "why", Text: p.Reason}, {Label: "do", Text: p.Advice}, {Label: "A", Text: p.A.text()}, {Label: "B", Text: p.B.text()}}
	for _, c := range p.Caveats {
		text = append(text, around.Line{Label: "note", Text: c})
	}
	title := titles[p.Outcome]
	if p.Family != "" {
		title += " over " + strings.Replace(p.Family, "v", "IPv", 1)
	}
	nattest.WriteLines(w, title, text)
}

func (p Peer) text() string {
	return nattest.Clean(p.V4) + ", " + nattest.Clean(p.V6) + ", TURN " + strings.ReplaceAll(p.TURN, "_", " ") + ", seen by " + nattest.Clean(p.Server) + " at " + p.Time.UTC().Format("2006-01-02 15:04") + " UTC"
}
