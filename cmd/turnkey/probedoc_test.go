package main

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"turnkey/configs"
)

func TestProbeDocument(t *testing.T) {
	const loopbacks = " 127.0.0.1 ::1"
	for _, tt := range []struct {
		what, name, advertised, listen string
		want                           string
	}{
		{"a name", "turn.example.com", "192.0.9.1", "192.0.9.1 192.0.9.2", "turn.example.com"},
		{"one address", "", "192.0.9.1", "192.0.9.1 10.0.0.1 2a00:1::1" + loopbacks, ""},
		{"two addresses", "", "192.0.9.2", "192.0.9.1 192.0.9.2 10.0.0.1 2a00:1::1" + loopbacks, " 192.0.9.2 192.0.9.1"},
		{"many addresses", "", "192.0.9.1", "192.0.9.1 192.0.9.2 192.0.9.3 192.0.9.4", " 192.0.9.1 192.0.9.2 192.0.9.3"},
		{"1:1 NAT", "", "192.0.9.9", "10.0.0.1 10.0.0.2", ""},
		{"1:1 NAT beside public addresses", "", "192.0.9.9", "192.0.9.1 192.0.9.2", ""},
		{"private network", "", "10.0.0.1", "10.0.0.1 10.0.0.2", ""},
	} {
		advertised := netip.MustParseAddr(tt.advertised)
		s := &server{around: &surroundings{}, cfg: configs.Config{
			Host: tt.name, Port: 3478, AltPort: 3479, RelayPorts: configs.PortRange{Min: 50000, Max: 50099},
		}}
		s.around.advertised.Store(&public{addr: advertised})
		for _, a := range strings.Fields(tt.listen) {
			s.around.listen = append(s.around.listen, netip.MustParseAddr(a))
		}
		w := httptest.NewRecorder()
		s.probeDocument(w, nil)
		var got struct {
			Schema     int
			STUN       []string
			RelayPorts string
		}
		var want []string
		for _, host := range strings.Split(tt.want, " ") {
			want = append(want, host+":3478", host+":3479")
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Schema != 1 || got.RelayPorts != "50000-50099" || !slices.Equal(got.STUN, want) {
			t.Errorf("%s: got %s, %v; want STUN at %v", tt.what, w.Body, err, want)
		}
	}
}
