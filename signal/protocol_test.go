package signal

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func document(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The examples of docs/protocol.md are one session. It is replayed line by
// line against a server on loopback: what it says comes back must come back.
func TestProtocolDocumentIsTrue(t *testing.T) {
	s := New(Config{Admit: admitAll, ICE: func(label string) (json.RawMessage, time.Time, error) {
		return json.RawMessage(`[{"urls":["stun:turn.example.org:3478"]},{"urls":["turn:turn.example.org:3478?transport=udp"],"username":"1790003600:` +
			label + `","credential":"c2VjcmV0"}]`), time.Unix(1790003600, 0), nil
	}})
	names := make(chan string, 1) // of who dials
	s.newID = func() string { return "p_" + <-names }
	s.newToken = func() string { return "r_4XKQ" }
	url := serve(t, s)
	clients := map[string]*client{}
	lines := 0
	for _, block := range regexp.MustCompile("(?s)```signal\n(.*?)```").FindAllStringSubmatch(document(t), -1) {
		for line := range strings.Lines(block[1]) {
			f := strings.SplitN(strings.TrimSpace(line), " ", 3)
			who, text := f[0], f[2]
			if clients[who] == nil {
				names <- who
				clients[who] = dial(t, url, nil)
			}
			if text == "cut" {
				_ = clients[who].nc.Close()
				delete(clients, who)
				continue
			}
			replay(clients[who], f[1], described(who, f[1], text))
			lines++
		}
	}
	if lines < 60 || len(clients) != 7 {
		t.Fatalf("replayed %d lines of %d clients", lines, len(clients))
	}
	clients["anna"].send(`{"type":"join","id":9,"room":"demo"}`)
	if m := clients["anna"].refused("already_joined", 0); m["re"] != 9.0 {
		t.Errorf("anna received %v, which the document does not show", m)
	}
}

// described puts a whole description where the document has the beginning of one.
func described(who, arrow, text string) string {
	if arrow == "<" { // from whom it is
		_, after, _ := strings.Cut(text, `"peer":"p_`)
		who, _, _ = strings.Cut(after, `"`)
	}
	kind := Offer
	if strings.Contains(text, `"type":"answer"`) {
		kind = Answer
	}
	sdp := strings.Trim(string(encode(sdpOf(kind, len(who)))), `"`)
	return strings.ReplaceAll(strings.ReplaceAll(text, `v=0\r\n…`, sdp), "x7Gh", fmt.Sprint("u", len(who)))
}

func replay(c *client, arrow, text string) {
	c.t.Helper()
	switch code, isClose := strings.CutPrefix(text, "close "); {
	case arrow == ">":
		c.send(text)
	case isClose:
		n, err := strconv.Atoi(code)
		if err != nil {
			c.t.Fatal(err)
		}
		c.closed(websocket.StatusCode(n))
	default:
		_, b, err := c.ws.Read(patience(c.t))
		if err != nil || !sameJSON(c.t, b, []byte(text)) {
			c.t.Fatalf("got  %s %v\nwant %s", b, err, text)
		}
	}
}

func TestProtocolDocumentIsComplete(t *testing.T) {
	doc := document(t)
	var names []string
	for _, file := range []string{"errors.go", "message.go", "fields.go", "frames.go", "room.go", "trickle.go", "sdp/sdp.go", "sdp/mend.go"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, re := range []string{`fault\("(\w+)"`, `Fault{"(\w+)"`, `missing\("(\w+)"`, ` Type += "([a-z]+)"`, `reason = "(\w+)"`, `json:"(\w+)`, `}\{"([a-z-]+)",`} {
			for _, m := range regexp.MustCompile(re).FindAllStringSubmatch(string(b), -1) {
				names = append(names, m[1])
			}
		}
	}
	if len(names) < 60 {
		t.Fatalf("found only %d names in the source: %v", len(names), names)
	}
	for _, n := range names {
		if !strings.Contains(doc, "`"+n+"`") && !strings.Contains(doc, `"`+n+`"`) && !strings.Contains(doc, "."+n+"`") {
			t.Errorf("docs/protocol.md does not mention %s", n)
		}
	}
}
