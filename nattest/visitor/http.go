package visitor

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"time"

	"turnkey/nattest"
)

// maxBody bounds what a page may send at once, in bytes.
const maxBody = 64 << 10

// families are the names of the address families, by index.
var families = [2]string{"v4", "v6"}

// begin answers POST /v1/nat.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) {
	guest, refused := s.Admit(r)
	if refused != nil {
		refused.ServeHTTP(w, r)
		return
	}
	v, e := s.open(guest.Client, r.Host)
	if e != nil {
		s.Refuse(w, r, *e)
		return
	}
	turn, err := guest.Issue(v.label, sessionLife)
	var filtering []ICEServer
	if err == nil {
		filtering, err = guest.Issue(v.label+filteringLabel, sessionLife)
	}
	if err != nil {
		s.forget(v)
		s.Log.Error("cannot issue ICE servers for a NAT test", "error", err)
		s.Refuse(w, r, Error{Status: 500, Code: "internal", Message: "cannot issue credentials", Hint: "The server's log says why."})
		return
	}
	type opened struct {
		ID        string               `json:"id"`
		Seen      string               `json:"seen"`
		STUN      []string             `json:"stun"`
		Filtering map[string]ICEServer `json:"filtering"`
		TURN      []ICEServer          `json:"turn"`
	}
	out := opened{ID: v.id, Seen: text(v.client), STUN: []string{}, Filtering: map[string]ICEServer{}, TURN: []ICEServer{}}
	for _, e := range v.endpoints {
		out.STUN = append(out.STUN, "stun:"+e.At.String())
		name := families[familyOf(e.At.Addr())]
		if _, has := out.Filtering[name]; has {
			continue
		}
		for _, f := range filtering {
			if f.Username != "" {
				f.URLs = []string{"turn:" + e.At.String() + "?transport=udp"}
				out.Filtering[name] = f
			}
		}
	}
	for _, t := range turn {
		if t.Username != "" {
			out.TURN = append(out.TURN, t)
			v.urls = append(v.urls, t.URLs...)
		}
	}
	answer(w, out)
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// checks answers POST /v1/nat/{id}/{family}/checks, with the ICE credentials of
// the page's peer connection: the server's, and its candidate for the control.
func (s *Server) checks(w http.ResponseWriter, r *http.Request) {
	v, family, e := s.find(r)
	var page credentials
	if e == nil {
		e = read(w, r, &page)
	}
	if e == nil && v.run(family) != nil {
		e = errDone()
	}
	if e == nil && !page.valid() {
		e = &Error{Status: 400, Code: "bad_request", Message: "ufrag and pwd are not those of a browser", Hint: "Send what the offer's SDP has."}
	}
	if e != nil {
		s.Refuse(w, r, *e)
		return
	}
	a, ok := v.pushable(family, time.Now())
	if !ok {
		s.Refuse(w, r, Error{Status: 409, Code: "not_seen", Message: "no Allocate of this test over UDP came in the last ten seconds",
			Hint: "The server sends checks only to an address that it has just seen."})
		return
	}
	run, e := s.start(v, a, page)
	if e != nil {
		s.Refuse(w, r, *e)
		return
	}
	answer(w, struct {
		credentials
		Candidates []netip.AddrPort `json:"candidates"`
	}{run.rounds.own, []netip.AddrPort{run.control}})
}

// await answers POST /v1/nat/{id}/{family}/{step} when the step is over: after
// rounds, with where the page is to send to, so that disturb can be seen.
func (s *Server) await(w http.ResponseWriter, r *http.Request) {
	v, family, e := s.find(r)
	if e != nil {
		s.Refuse(w, r, *e)
		return
	}
	run := v.run(family)
	if run == nil {
		s.Refuse(w, r, Error{Status: 409, Code: "not_begun", Message: "no checks are being sent", Hint: "Ask for checks first."})
		return
	}
	over := map[string]chan struct{}{"rounds": run.roundsOver, "disturb": run.disturbOver}[r.PathValue("step")]
	if over == nil {
		s.Refuse(w, r, *errUnknown())
		return
	}
	select {
	case <-over:
	case <-r.Context().Done():
		return
	}
	answer(w, struct {
		Candidates []netip.AddrPort `json:"candidates"`
		Rounds     nattest.Rounds   `json:"rounds"`
	}{run.pushed, run.result().Rounds})
}

// report answers POST /v1/nat/{id}/report and ends the session.
func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	v := s.session(r.PathValue("id"))
	if v == nil {
		s.Refuse(w, r, *errUnknown())
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var o observation
	if err == nil {
		o, err = parseObservation(body)
	}
	if err != nil {
		s.Refuse(w, r, *errBody(err))
		return
	}
	report := nattest.Judge(s.evidence(v, o))
	var words bytes.Buffer
	report.WriteText(&words)
	s.forget(v)
	answer(w, struct {
		Report *nattest.Report `json:"report"`
		Text   string          `json:"text"`
	}{report, words.String()})
}

func (s *Server) find(r *http.Request) (v *session, family int, e *Error) {
	v = s.session(r.PathValue("id"))
	for i, name := range families {
		if v != nil && name == r.PathValue("family") {
			return v, i, nil
		}
	}
	return nil, 0, errUnknown()
}

func (v *session) run(family int) *run {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.runs[family]
}

func errDone() *Error {
	return &Error{Status: 409, Code: "done", Message: "checks have been sent for this test", Hint: "Begin another test."}
}

func errUnknown() *Error {
	return &Error{Status: 404, Code: "unknown_test", Message: "there is no such test, or it is over", Hint: "Begin another test."}
}

func errBody(err error) *Error {
	return &Error{Status: 400, Code: "bad_request", Message: "the request cannot be read: " + err.Error(), Hint: "Send the JSON that the page of this server sends."}
}

// read decodes the JSON of a request.
func read(w http.ResponseWriter, r *http.Request, v any) *Error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		return errBody(err)
	}
	return nil
}

// answer sends what is for this page and this moment only.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the client went away: nobody is left to tell
}
