package signal

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDecodeAccepts(t *testing.T) {
	const line = "candidate:1 1 udp 1 192.0.2.1 5000 typ host"
	good := string(encode(sdpOf(Offer, 1)))
	for _, tt := range []struct{ name, in, body string }{
		{"offer", describing(Offer, "p_b", 1), `,"sdp":` + good},
		{"a description in the description", `{"type":"offer","peer":"p_b","sdp":{"type":"offer","sdp":` + good + `}}`, `,"sdp":` + good},
		{"unknown members pass, the server's own do not", `{"type":"message","peer":"p_b","data":1,"z":[1, 2],"a":{"b":1.50},"seq":9,"re":3}`, `,"a":{"b":1.50},"data":1,"z":[1, 2]`},
		{"the last of two members counts", `{"type":"message","peer":"p_a","peer":"p_b","data":1,"data":2}`, `,"data":2`},
		{"candidate", `{"type":"candidate","peer":"p_b","candidate":{"x":null,"sdpMid":"0","candidate":"` + line + `"}}`, `,"candidate":{"candidate":"` + line + `","sdpMid":"0","x":null}`},
		{"candidate without its prefix", `{"type":"candidate","peer":"p_b","candidate":{"sdpMid":"0","candidate":"` + line[10:] + `"}}`, `,"candidate":{"candidate":"` + line + `","sdpMid":"0"}`},
		{"candidate beside its section", `{"type":"candidate","peer":"p_b","candidate":"` + line + `","sdpMid":"0","sdpMLineIndex":0}`, `,"candidate":{"candidate":"` + line + `","sdpMLineIndex":0,"sdpMid":"0"}`},
		{"candidate in aiortc's names", `{"type":"candidate","peer":"p_b","candidate":{"candidate":"` + line + `","id":"0","label":0}}`, `,"candidate":{"candidate":"` + line + `","sdpMLineIndex":0,"sdpMid":"0"}`},
		{"end of candidates", `{"type":"candidate","peer":"p_b","candidate":null}`, `,"candidate":null`},
		{"empty string is the end", `{"type":"candidate","peer":"p_b","candidate":""}`, `,"candidate":null`},
		{"empty candidate without a section is the end", `{"type":"candidate","peer":"p_b","candidate":{"candidate":"","sdpMid":null}}`, `,"candidate":null`},
		{"empty candidate of a section is nothing", `{"type":"candidate","peer":"p_b","candidate":{"candidate":"","sdpMid":"0","sdpMLineIndex":0}}`, ``},
		{"data may be null", `{"type":"message","peer":"p_b","data":null}`, `,"data":null`},
		{"names that need escaping", `{"type":"message","peer":"p_b","data":1,"a\"b":2}`, `,"a\"b":2,"data":1`},
		{"bye to one peer", `{"type":"bye","peer":"p_b"}`, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Decode([]byte(tt.in))
			if err != nil {
				t.Fatalf("got error %v", err)
			}
			if m.Peer != "p_b" || string(m.body) != tt.body {
				t.Errorf("got peer %q body %s, want p_b %s", m.Peer, m.body, tt.body)
			}
		})
	}
}

func TestDecodeJoin(t *testing.T) {
	m, err := Decode([]byte(`{"type":"join","id":9007199254740991,"v":1,"room":"a.B_c~-9","token":"t","name":"Ä","meta":{"x": 1}}`))
	if err != nil {
		t.Fatal(err)
	}
	if m.ID != maxID || m.Room != "a.B_c~-9" || m.Token != "t" || m.Name != "Ä" || string(m.Meta) != `{"x": 1}` {
		t.Errorf("got %+v", m)
	}
}

func TestDecodeRefuses(t *testing.T) {
	long := strings.Repeat("x", 65)
	for _, tt := range []struct {
		name, in, code string
		re             int64
	}{
		{"nothing", ``, "bad_json", 0},
		{"no JSON", `hello`, "bad_json", 0},
		{"cut off", `{"type":"join"`, "bad_json", 0},
		{"two objects", `{"type":"ice"}{"type":"ice"}`, "bad_json", 0},
		{"array", `[1]`, "bad_json", 0},
		{"null", `null`, "bad_json", 0},
		{"no UTF-8", "{\"type\":\"message\",\"peer\":\"p\",\"data\":\"\xff\"}", "bad_json", 0},
		{"deeper than a parser goes", `{"a":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + `}`, "bad_json", 0},
		{"too large", `{"type":"ice","x":"` + strings.Repeat("x", maxMessage) + `"}`, "too_large", 0},
		{"id a string", `{"type":"ice","id":"1"}`, "bad_field", 0},
		{"id zero", `{"type":"ice","id":0}`, "bad_field", 0},
		{"id a fraction", `{"type":"ice","id":1.0}`, "bad_field", 0},
		{"id too large for JavaScript", `{"type":"ice","id":9007199254740992}`, "bad_field", 0},
		{"no type", `{"id":1}`, "missing_field", 1},
		{"type a number", `{"id":1,"type":1}`, "bad_field", 1},
		{"members in capitals are others", `{"id":1,"Type":"ice"}`, "missing_field", 1},
		{"type in capitals", `{"id":1,"type":"Offer"}`, "unknown_type", 1},
		{"a type of the server", `{"id":1,"type":"welcome"}`, "unknown_type", 1},
		{"join without a room", `{"id":1,"type":"join"}`, "missing_field", 1},
		{"room with a slash", `{"id":1,"type":"join","room":"a/b"}`, "bad_field", 1},
		{"room with a line break", `{"id":1,"type":"join","room":"a\n"}`, "bad_field", 1},
		{"room too long", `{"id":1,"type":"join","room":"` + long + `"}`, "bad_field", 1},
		{"another version", `{"id":1,"type":"join","room":"a","v":2}`, "bad_version", 1},
		{"name too long", `{"id":1,"type":"join","room":"a","name":"` + long + `"}`, "bad_field", 1},
		{"name with control characters", `{"id":1,"type":"join","room":"a","name":"a\u0007"}`, "bad_field", 1},
		{"meta no object", `{"id":1,"type":"join","room":"a","meta":[]}`, "bad_field", 1},
		{"meta too large", `{"id":1,"type":"join","room":"a","meta":{"a":"` + strings.Repeat("x", maxMeta) + `"}}`, "bad_field", 1},
		{"offer without sdp", `{"id":1,"type":"offer","peer":"p"}`, "missing_field", 1},
		{"sdp an object", `{"id":1,"type":"offer","peer":"p","sdp":{"type":"offer","sdp":""}}`, "sdp_invalid", 1},
		{"offer to nobody", `{"id":1,"type":"offer","sdp":"v=0"}`, "missing_field", 1},
		{"offer to all", `{"id":1,"type":"offer","peer":"*","sdp":"v=0"}`, "bad_field", 1},
		{"bye to all", `{"id":1,"type":"bye","peer":"*"}`, "bad_field", 1},
		{"bye to null", `{"id":1,"type":"bye","peer":null}`, "bad_field", 1},
		{"candidate missing", `{"id":1,"type":"candidate","peer":"p"}`, "missing_field", 1},
		{"candidate a string", `{"id":1,"type":"candidate","peer":"p","candidate":"candidate:1"}`, "bad_field", 1},
		{"candidate without its string", `{"id":1,"type":"candidate","peer":"p","candidate":{"sdpMid":"0"}}`, "bad_field", 1},
		{"candidate that is none", `{"id":1,"type":"candidate","peer":"p","candidate":{"candidate":"candidate:1","sdpMid":"0"}}`, "bad_field", 1},
		{"candidate of a section that is no number", `{"id":1,"type":"candidate","peer":"p","candidate":{"candidate":"1 1 udp 1 ::1 1 typ host","sdpMLineIndex":"0"}}`, "bad_field", 1},
		{"sdp without a fingerprint", `{"id":1,"type":"offer","peer":"p","sdp":"v=0\nm=audio 9\na=ice-ufrag:a\na=ice-pwd:b\n"}`, "sdp_no_fingerprint", 1},
		{"resume without a token", `{"id":1,"type":"resume"}`, "missing_field", 1},
		{"resume after less than nothing", `{"id":1,"type":"resume","resume":"r","seq":-1}`, "bad_field", 1},
		{"ack of nothing", `{"id":1,"type":"ack"}`, "missing_field", 1},
		{"a flag that is none", `{"id":1,"type":"join","room":"r","resume":1}`, "bad_field", 1},
		{"message without data", `{"id":1,"type":"message","peer":"p"}`, "missing_field", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Decode([]byte(tt.in))
			if err == nil || err.Code != tt.code || err.re != tt.re || err.Message == "" || err.Hint == "" {
				t.Errorf("got %+v, want code %s answering %d, with message and hint", err, tt.code, tt.re)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"type":"join","id":1,"room":"r","name":"n","meta":{}}`, `{"type":"offer","peer":"p","sdp":"v=0"}`,
		`{"type":"candidate","peer":"p","candidate":{"candidate":"","sdpMid":"0"},"x":1}`, `{"type":"candidate","peer":"p","candidate":null}`,
		`{"type":"message","peer":"*","data":[1,{"a":"\ud800"}],"seq":1}`, `{"type":"bye","peer":"p"}`, `{"type":"\u0069ce"}`, "\xff", `{}`,
		`{"type":"join","room":"r","resume":true,"nonce":"0123456789abcdef"}`, `{"type":"answer","peer":"p","sdp":"v=0","offer":"x"}`,
		`{"type":"update","name":"n"}`, `{"type":"resume","resume":"r","seq":1}`, `{"type":"ack","seq":1}`, `{"type":"restart","peer":"p"}`,
		`{"type":"state","peer":"p","state":"failed","selected":{"local":"host"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			if err.Code == "" || err.Message == "" || err.Hint == "" || !json.Valid(err.frame()) {
				t.Fatalf("error %+v does not explain itself", err)
			}
			return
		}
		switch m.Type {
		case Join, ICE, Update, Resume, Ack, State:
			return
		case Bye, Offer, Answer, Candidate, Note, Restart, Request:
		default:
			t.Fatalf("type %q is not of the set", m.Type)
		}
		frame := relayFrame(m.Type, "p_sender", m.body)
		got := object(t, frame)
		if got["type"] != string(m.Type) || got["peer"] != "p_sender" || got["id"] != nil || got["re"] != nil || got["seq"] != nil {
			t.Fatalf("%s became %s", b, frame)
		}
	})
}
