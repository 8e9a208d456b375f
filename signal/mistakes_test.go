package signal

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// mistakes are what clients are known to get wrong, each as it is on the wire.
// Anna is in the room and waits, Bob has come and is to offer. A step is sent by
// who its first letter names; %a and %b stand for their ids.
var mistakes = []struct {
	name  string
	steps []string
	code  string // what the sender of the last step is told, "" = nothing
	then  string // what the other one gets of it, "" = nothing
}{
	{"a whole description as sdp", []string{"b" + wrongly(Offer, func(s string) any { return string(encode(map[string]string{"type": "offer", "sdp": s})) })}, "sdp_double_encoded", "offer 2"},
	{"a string in a string as sdp", []string{"b" + wrongly(Offer, func(s string) any { return string(encode(s)) })}, "sdp_double_encoded", "offer 2"},
	{"a description object as sdp", []string{"b" + wrongly(Offer, func(s string) any { return map[string]string{"type": "offer", "sdp": s} })}, "sdp_double_encoded", "offer 2"},
	{"line ends as characters", []string{"b" + wrongly(Offer, func(s string) any { return strings.ReplaceAll(s, "\r\n", `\r\n`) })}, "sdp_escaped", "offer 2"},
	{"LF, and the last one trimmed", []string{"b" + wrongly(Offer, func(s string) any { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) })}, "", "offer 2"},
	{"[object Object]", []string{"b" + wrongly(Offer, func(string) any { return "[object Object]" })}, "sdp_invalid", ""},
	{"type in capitals", []string{"b" + strings.Replace(describing(Offer, "%a", 2), `"offer"`, `"OFFER"`, 1)}, "unknown_type", ""},
	{"no type", []string{"b" + strings.Replace(describing(Offer, "%a", 2), `"type"`, `"kind"`, 1)}, "missing_field", ""},
	{"no fingerprint", []string{"b" + without(Offer, "a=fingerprint")}, "sdp_no_fingerprint", ""},
	{"no ICE", []string{"b" + without(Offer, "a=ice-ufrag")}, "sdp_no_ice", ""},
	{"no setup", []string{"b" + without(Offer, "a=setup")}, "sdp_no_setup", ""},
	{"nothing to connect", []string{"b" + without(Offer, "m=")}, "sdp_no_media", ""},
	{"an answer with actpass", []string{"b" + describing(Offer, "%a", 2), "a" + strings.Replace(describing(Answer, "%b", 1), "setup:active", "setup:actpass", 1)}, "sdp_setup", ""},
	{"an answer without an offer", []string{"b" + describing(Answer, "%a", 2)}, "answer_without_offer", ""},
	{"an answer twice", []string{"b" + describing(Offer, "%a", 2), "a" + describing(Answer, "%b", 1), "a" + describing(Answer, "%b", 1)}, "answer_without_offer", ""},
	{"an answer to the offer before a bye", []string{"b" + named(Offer, "%a", 2, "x"), `b{"type":"bye","peer":"%a"}`, "b" + named(Offer, "%a", 3, "y"), "a" + named(Answer, "%b", 1, "x")}, "answer_stale", ""},
	{"an answer to an offer that a newer one replaced", []string{"b" + named(Offer, "%a", 2, "x"), "b" + named(Offer, "%a", 2, "y"), "a" + named(Answer, "%b", 1, "x")}, "answer_stale", ""},
	{"an answer to the newest offer", []string{"b" + named(Offer, "%a", 2, "x"), "b" + named(Offer, "%a", 2, "y"), "a" + named(Answer, "%b", 1, "y")}, "", "answer 1"},
	{"an answer that names no offer", []string{"b" + named(Offer, "%a", 2, "x"), "a" + describing(Answer, "%b", 1)}, "", "answer 1"},
	{"an answer to an offer without a name", []string{"b" + describing(Offer, "%a", 2), "a" + named(Answer, "%b", 1, "x")}, "", "answer 1"},
	{"a name that is none", []string{"b" + strings.Replace(describing(Offer, "%a", 2), `{`, `{"offer":1,`, 1)}, "bad_field", ""},
	{"a name without end", []string{"b" + named(Offer, "%a", 2, strings.Repeat("x", 65))}, "bad_field", ""},
	{"the offer sent back", []string{"b" + describing(Offer, "%a", 2), "a" + describing(Offer, "%b", 2)}, "echoed", ""},
	{"an answer to another offer", []string{"b" + describing(Offer, "%a", 2), "a" + wrongly(Answer, func(s string) any { return s + s[strings.Index(s, "m="):] })}, "sdp_media_differ", ""},
	{"an offer to oneself", []string{"b" + describing(Offer, "%b", 2)}, "peer_not_found", ""},
	{"an offer to everybody", []string{"b" + describing(Offer, "*", 2)}, "bad_field", ""},
	{"a candidate before its offer", []string{"b" + trickling("%a", 2, 7), "b" + describing(Offer, "%a", 2)}, "", "offer 2, candidate 7"},
	{"candidates and their end before their offer", []string{"b" + trickling("%a", 2, 7), `b{"type":"candidate","peer":"%a","candidate":null}`, "b" + describing(Offer, "%a", 2)}, "", "offer 2, candidate 7, " + ending1},
	{"candidates and their end of before a bye", []string{"b" + describing(Offer, "%a", 2), `b{"type":"bye","peer":"%a"}`, "b" + trickling("%a", 2, 7), `b{"type":"candidate","peer":"%a","candidate":null}`, "b" + describing(Offer, "%a", 3)}, "", "offer 3"},
	{"a candidate without its prefix", offered(strings.Replace(trickling("%a", 2, 7), `"candidate:1`, `"1`, 1)), "", "candidate 7"},
	{"a candidate with a=", offered(strings.Replace(trickling("%a", 2, 7), `"candidate:1`, `"a=candidate:1`, 1)), "", "candidate 7"},
	{"a candidate of no section, where there is one", offered(strings.NewReplacer(`"sdpMid":"0",`, "", `"sdpMLineIndex":0,`, "").Replace(trickling("%a", 2, 7))), "", "candidate 7"},
	{"a candidate of a section by its name alone", offered(strings.Replace(trickling("%a", 2, 7), `"sdpMLineIndex":0,`, "", 1)), "", "candidate 7"},
	{"a candidate of a section by its number alone", offered(strings.Replace(trickling("%a", 2, 7), `"sdpMid":"0",`, `"sdpMid":null,`, 1)), "", "candidate 7"},
	{"a candidate before its offer, by its number alone", []string{"b" + strings.Replace(trickling("%a", 2, 7), `"sdpMid":"0",`, "", 1), "b" + describing(Offer, "%a", 2)}, "", "offer 2, candidate 7"},
	{"a candidate of another section", offered(strings.Replace(trickling("%a", 2, 7), `"sdpMid":"0"`, `"sdpMid":"video"`, 1)), "candidate_no_section", ""},
	{"a candidate of section 5", offered(strings.Replace(trickling("%a", 2, 7), `"sdpMLineIndex":0`, `"sdpMLineIndex":5`, 1)), "candidate_no_section", ""},
	{"a candidate in aiortc's names", offered(`{"type":"candidate","peer":"%a","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 7 typ host","id":"0","label":0}}`), "", "candidate 7"},
	{"a candidate as a string", offered(`{"type":"candidate","peer":"%a","candidate":"candidate:1 1 udp 1 192.0.2.1 7 typ host","sdpMid":"0"}`), "", "candidate 7"},
	{"{candidate: null} in a candidate", offered(`{"type":"candidate","peer":"%a","candidate":{"candidate":null}}`), "bad_field", ""},
	{"Firefox's empty candidate", offered(`{"type":"candidate","peer":"%a","candidate":{"candidate":"","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"u2"}}`), "", ""},
	{"candidates of loopback only", append(offered(strings.Replace(trickling("%a", 2, 7), "192.0.2.1", "127.0.0.1", 1)), "b"+`{"type":"candidate","peer":"%a","candidate":null}`), "candidates_local_only", ending1},
	{"no relay, though there is TURN", append(offered(trickling("%a", 2, 7)), "b"+`{"type":"candidate","peer":"%a","candidate":null}`), "no_relay_candidate", ending1},
	{"no relay, with an answer: connected, perhaps", append(answered(), "a"+trickling("%b", 1, 7), `a{"type":"candidate","peer":"%b","candidate":null}`), "", `{"type":"candidate","peer":"p_a","candidate":null,"usernameFragment":"u1"}`},
	{"the end before the candidates of an answer", append(answered(), `a{"type":"candidate","peer":"%b","candidate":null}`), "", `{"type":"candidate","peer":"p_a","candidate":null,"usernameFragment":"u1"}`},
	{"no relay, of a new offer after an answer", append(answered(), "b"+describing(Offer, "%a", 3), "b"+trickling("%a", 3, 7), `b{"type":"candidate","peer":"%a","candidate":null}`), "no_relay_candidate", strings.Replace(ending1, "u2", "u3", 1)},
	{"no candidate at all", offered(`{"type":"candidate","peer":"%a","candidate":null}`), "no_candidates", ending1},
	{"a candidate of before the restart", append(offered(describing(Offer, "%a", 3)), "b"+trickling("%a", 2, 7)), "candidate_stale", ""},
	{"a message for nobody", []string{"b" + `{"type":"message","peer":"p_gone","data":1}`}, "peer_not_found", ""},
}

const ending1 = `{"type":"candidate","peer":"p_b","candidate":null,"usernameFragment":"u2"}`

func offered(then string) []string { return []string{"b" + describing(Offer, "%a", 2), "b" + then} }

func answered() []string {
	return []string{"b" + describing(Offer, "%a", 2), "a" + describing(Answer, "%b", 1)}
}

// named is a description that names an offer.
func named(kind Type, peer string, n int, offer string) string {
	return strings.Replace(describing(kind, peer, n), `{`, `{"offer":"`+offer+`",`, 1)
}

// wrongly is a description of Bob's, or Anna's answer, whose sdp is spoiled.
func wrongly(kind Type, spoil func(sdp string) any) string {
	n, to := 2, "%a"
	if kind == Answer {
		n, to = 1, "%b"
	}
	return string(encode(map[string]any{"type": kind, "peer": to, "sdp": spoil(sdpOf(kind, n))}))
}

func without(kind Type, prefix string) string {
	return wrongly(kind, func(s string) any {
		var kept []string
		for line := range strings.Lines(s) {
			if !strings.HasPrefix(line, prefix) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	})
}

// Each mistake is answered with its code, a message and a hint, or mended.
func TestMistakesOfClients(t *testing.T) {
	ice := func(string) (json.RawMessage, time.Time, error) {
		return json.RawMessage(`[{"urls":["turn:turn.example.org"]}]`), time.Time{}, nil
	}
	for _, tt := range mistakes {
		t.Run(tt.name, func(t *testing.T) {
			s := New(Config{Admit: admitAll, ICE: ice})
			ids := make(chan string, 2)
			s.newID = func() string { return <-ids }
			url := serve(t, s)
			people := map[byte]*client{}
			for _, id := range []string{"p_a", "p_b"} {
				ids <- id
				people[id[2]] = enter(t, url, "r")
			}
			people['a'].expect("peer-joined")
			for i, step := range tt.steps {
				who, other := people[step[0]], people['a'+'b'-step[0]]
				who.send(strings.NewReplacer("%a", "p_a", "%b", "p_b").Replace(step[1:]))
				got := other.until(who, 100+i) // so the step was handled
				told := who.until(other, i)
				if i < len(tt.steps)-1 {
					continue
				}
				var code string
				for _, f := range told {
					m := object(t, f)
					if code, _ = m["code"].(string); m["message"] == "" || m["hint"] == "" {
						t.Errorf("got %s, want a message and a hint", f)
					}
				}
				var brieves []string
				for _, f := range got {
					brieves = append(brieves, brief(f))
				}
				if then := strings.Join(brieves, ", "); code != tt.code || then != tt.then {
					t.Errorf("got told %q and passed on %q, want %q and %q", code, then, tt.code, tt.then)
				}
			}
		})
	}
}

// until has the other send a note, and returns what came before it.
func (c *client) until(other *client, n int) (frames [][]byte) {
	c.t.Helper()
	other.send(fmt.Sprintf(`{"type":"message","peer":%q,"data":%d}`, c.id, n))
	for {
		_, b, err := c.ws.Read(patience(c.t))
		if err != nil {
			c.t.Fatal(err)
		}
		if m := object(c.t, b); m["type"] == "message" && m["data"] == float64(n) {
			return frames
		}
		frames = append(frames, b)
	}
}

// Who says nothing is told after a while what is missing.
func TestSilentMistakes(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, s *Server, p pipes) {
		enter := func() *Client {
			c, err := Enter(t.Context(), "ws://pipe/v1/ws", "r", ClientOptions{HTTP: inMemory(p).client()})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		start := time.Now()
		a, b := enter(), enter()
		anna := expectEvent(t, a, "welcome").Peer
		expectEvent(t, b, "welcome")
		expectEvent(t, a, "peer-joined")
		if e := expectEvent(t, b, "warning"); e.Code != "nobody_offered" || time.Since(start) != quietAfter {
			t.Errorf("got %s after %v, want nobody_offered after %v", e.Raw, time.Since(start), quietAfter)
		}
		if _, err := b.Send(Offer, anna, map[string]any{"sdp": sdpOf(Offer, 2)}); err != nil {
			t.Fatal(err)
		}
		expectEvent(t, a, "offer")
		if e := expectEvent(t, b, "warning"); e.Code != "no_candidates" || time.Since(start) != 2*quietAfter {
			t.Errorf("got %s after %v, want no_candidates after %v", e.Raw, time.Since(start), 2*quietAfter)
		}
		synctest.Wait()
		select {
		case e := <-a.Events():
			t.Errorf("got %s, want nothing for who waits", e.Raw)
		default:
		}
		_, _ = a.Close(), b.Close()
	})
}

// Two that offer at once: with stacks that can take an offer back both offers are
// passed on; one that cannot keeps its own.
func TestGlare(t *testing.T) {
	for _, rollback := range []bool{true, false} {
		r := newRoom(2)
		for _, id := range []string{"a", "b"} {
			if _, err := r.join(peer{id: id, noRollback: !rollback}, Message{}, "", issued{}, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		relay := func(from, text string) (string, string) {
			ds, err := r.relay(from, decoded(t, text), time.Time{})
			if err != nil {
				return "", err.Code
			}
			return brief(ds[0].frame), ""
		}
		relay("b", describing(Offer, "a", 2))
		got, code := relay("a", describing(Offer, "b", 1))
		if rollback && got != "offer 1" || !rollback && code != "glare" {
			t.Errorf("rollback %v: got %q, %q", rollback, got, code)
		}
		if got, code := relay("a", describing(Answer, "b", 3)); got != "answer 3" {
			t.Errorf("rollback %v: got %q, %q, want the answer passed on", rollback, got, code)
		}
		if got, code := relay("b", describing(Answer, "a", 4)); code != "answer_without_offer" {
			t.Errorf("rollback %v: got %q, %q: the offer was taken back", rollback, got, code)
		}
		restart, err := r.relay("b", decoded(t, describing(Offer, "a", 5)), time.Time{})
		if err != nil || !strings.Contains(string(restart[0].frame), `"restart":true`) {
			t.Errorf("rollback %v: got %v, %v, want a restart", rollback, restart, err)
		}
	}
}
