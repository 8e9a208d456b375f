//go:build linux

package attack

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"turnkey/lab/program"
)

// Attributes of RFC 5780, and the one that carries a token.
const (
	attrPadding      = 0x0026
	attrResponsePort = 0x0027
	attrNattestToken = 0xC07E
)

func change(flags byte) stun.Setter { return attribute(stun.AttrChangeRequest, 0, 0, 0, flags) }

func padding(n int) stun.Setter { return attribute(attrPadding, make([]byte, n)...) }

// token asks for a token, as anybody can.
func (w world) token(t *testing.T) stun.Setter {
	t.Helper()
	response, err := program.Client(w.attacker).Get("http://" + serverIP + ":8080/nattest.json")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var doc struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	b, err := base64.RawURLEncoding.DecodeString(doc.Token)
	if err != nil {
		t.Fatal(err)
	}
	return attribute(attrNattestToken, b...)
}

// What RFC 5780 and tokens add to the answers, as TestReflection has the rest:
// run it with -v for the table of docs/attacks.md.
func TestReflectionOfNATProbes(t *testing.T) {
	binding := func(setters ...stun.Setter) []byte { return request(stun.MethodBinding, setters...) }
	t.Run("one address", func(t *testing.T) {
		t.Parallel()
		w := start(t)
		token := w.token(t)
		w.reflect(t, []question{
			{"RESPONSE-PORT", "3478", binding(attribute(attrResponsePort, 0, 80)), 1.3},
			{"PADDING of 1500", "3478", binding(padding(1500)), 0.03},
			{"a token", "3478", binding(token), 1},
			{"CHANGE-REQUEST (port), a token", "3478", binding(change(2), token), 0.9},
			{"PADDING of 1500, a token", "3478", binding(padding(1500), token), 1.01},
			{"CHANGE-REQUEST of RFC 3489", "3478", classic(change(6)), 1.3},
		})
	})
	t.Run("two addresses", func(t *testing.T) {
		t.Parallel()
		w := start(t, "TURNKEY_ALT_IP="+serverIP2)
		token := w.token(t)
		w.reflect(t, []question{
			{"Binding", "3478", binding(), 3.4},
			{"Binding with FINGERPRINT", "3478", binding(stun.Fingerprint), 2.8},
			{"CHANGE-REQUEST (both)", "3478", binding(change(6)), 2.5},
			{"PADDING of 4", "3478", binding(padding(4)), 2.8},
			{"PADDING of 1500", "3478", binding(padding(1500)), 1.04},
			{"PADDING and RESPONSE-PORT", "3478", binding(padding(1400), attribute(attrResponsePort, 0, 80)), 0.03},
			{"CHANGE-REQUEST (both), a token", "3478", binding(change(6), token), 1.1},
			{"PADDING of 1500, a token", "3478", binding(padding(1500), token), 1.01},
			{"Binding of RFC 3489", "3478", classic(), 2.8},
			{"CHANGE-REQUEST of RFC 3489", "3478", classic(change(6)), 2},
		})
	})
}

// A flood in the name of a victim, with every means that RFC 5780 and tokens
// give: what reaches the victim, on whatever port, is bounded in answers and in
// bytes, and is never more than the attacker has sent.
func TestNATProbesAtTheLimit(t *testing.T) {
	const (
		perSecond, seconds = 3000, 3
		size               = 192      // bytes of an answer that count as one
		rate, burst        = 20, 200  // of those who show no token
		probeRate, probes  = 50, 1500 // of those who do, for one source
		victimPort         = uint16(4000)
	)
	victim := [4]byte(net.ParseIP(clientIP).To4())
	elsewhere := attribute(attrResponsePort, byte(victimPort>>8), byte(victimPort&0xFF))
	for _, tt := range []struct {
		name   string
		tokens int
		ask    []stun.Setter
	}{
		{"RESPONSE-PORT", 0, []stun.Setter{elsewhere}},
		{"CHANGE-REQUEST and PADDING of 1200", 0, []stun.Setter{change(6), padding(1200)}},
		{"CHANGE-REQUEST, 20 tokens", 20, []stun.Setter{change(6)}},
		{"RESPONSE-PORT, 20 tokens", 20, []stun.Setter{elsewhere}},
		{"PADDING of 1200, 20 tokens", 20, []stun.Setter{padding(1200)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, "TURNKEY_ALT_IP="+serverIP2)
			send := w.forge(t)
			conn := w.client.Listen(clientIP + ":4000")
			var requests [][]byte
			for range max(tt.tokens, 1) {
				ask := tt.ask
				if tt.tokens > 0 {
					ask = append(append([]stun.Setter(nil), ask...), w.token(t))
				}
				requests = append(requests, request(stun.MethodBinding, ask...))
			}
			type sum struct{ datagrams, bytes int }
			got := make(chan sum)
			go func() {
				n, bytes := gather(conn, time.Second)
				got <- sum{n, bytes}
			}()
			begin := time.Now()
			paced(seconds*perSecond, perSecond, func(i int) {
				send(victim, victimPort, 3478, requests[i%len(requests)])
			})
			took := time.Since(begin).Seconds()
			out, in := <-got, len(requests[0])*seconds*perSecond
			t.Logf("| %s, %d a second for %d s | 3478 | %d | %d | %.2f | %.2f |", tt.name, perSecond, seconds, in, out.bytes,
				float64(out.bytes)/float64(in), float64(out.bytes+out.datagrams*headers)/float64(in+seconds*perSecond*headers))
			counted := burst + rate*(took+1)
			if tt.tokens > 0 {
				counted += probes + probeRate*(took+1)
			}
			if out.bytes > int(counted*size) || out.datagrams > int(counted) || out.bytes > in {
				t.Errorf("got %d bytes in %d answers for %d bytes, want %.0f answers of %d bytes at most, and no more than was sent", out.bytes, out.datagrams, in, counted, size)
			}
			if out.datagrams < 20 {
				t.Errorf("got %d answers: the flood did not arrive", out.datagrams)
			}
		})
	}
}
