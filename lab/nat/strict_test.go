package nat

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/transport/v4/vnet"

	"turnkey/nattest"
	"turnkey/nattest/match"
	"turnkey/stunsrv"
)

// strict are the pairs of the nine NATs of RFC 4787 that reach each other in
// memory, where a NAT looks for a mapping by what is sent and never by what
// came in: the first line is the first NAT with itself.
var strict = []string{
	"EIM/EIF   y",
	"EIM/ADF   y y",
	"EIM/APDF  y y y",
	"ADM/EIF   y y - y",
	"ADM/ADF   y y - y -",
	"ADM/APDF  y y - - - -",
	"APDM/EIF  y y - y y - -",
	"APDM/ADF  y y - y - - - -",
	"APDM/APDF y y - - - - - - -",
}

func TestPairsOfStrictNATs(t *testing.T) {
	behaviors := map[string]vnet.EndpointDependencyType{
		"EIM": vnet.EndpointIndependent, "ADM": vnet.EndpointAddrDependent, "APDM": vnet.EndpointAddrPortDependent,
		"EIF": vnet.EndpointIndependent, "ADF": vnet.EndpointAddrDependent, "APDF": vnet.EndpointAddrPortDependent,
	}
	nat := func(name string) *vnet.NATType {
		m, f, _ := strings.Cut(name, "/")
		return &vnet.NATType{MappingBehavior: behaviors[m], FilteringBehavior: behaviors[f], MappingLifeTime: time.Minute}
	}
	for i, row := range strict {
		fields := strings.Fields(row)
		for j, word := range fields[1:] {
			a, b := fields[0], strings.Fields(strict[j])[0]
			t.Run(a+" and "+b, func(t *testing.T) {
				t.Parallel()
				var got bool
				synctest.Test(t, func(t *testing.T) { got = strictSession(t, nat(a), nat(b)) })
				if got != (word == "y") {
					t.Errorf("got %t, want %s", got, word)
				}
				prediction := match.Predict(reportOf(a, "203.0.113.1"), reportOf(b, "203.0.113.2")).Outcome
				if got && prediction == "relay_needed" || !got && prediction == "direct" {
					t.Errorf("predicted %s, yet ICE had success %t", prediction, got)
				}
				// Where an answer goes through the flow that came in, as the
				// kernel has it, these pairs work: likely is as far as one can go.
				if likely := prediction == "likely_direct"; likely && (!strings.Contains(a+b, "/EIF") || i < 3) {
					t.Errorf("predicted %s, want certainty", prediction)
				}
			})
		}
	}
}

// reportOf is a report of a machine at a public address, behind a NAT that is
// known for certain.
func reportOf(signature, address string) *nattest.Report {
	words := map[string]string{
		"EIM": nattest.EndpointIndependent, "ADM": nattest.AddressDependent, "APDM": nattest.AddressAndPortDependent,
		"EIF": nattest.EndpointIndependent, "ADF": nattest.AddressDependent, "APDF": nattest.AddressAndPortDependent,
	}
	m, f, _ := strings.Cut(signature, "/")
	r := &nattest.Report{Schema: 1}
	r.V4 = nattest.Family{
		UDP: "ok", NAT: "yes", InboundDisturbs: "no", Mapped: []nattest.Mapped{{Address: netip.MustParseAddr(address), Count: 1}},
		Mapping:   nattest.Mapping{Behavior: words[m], Possible: []string{words[m]}},
		Filtering: nattest.Filtering{Behavior: words[f], Possible: []string{words[f]}},
	}
	r.V6.UDP = nattest.NotTested
	return r
}

// strictSession runs ICE between machines behind two NATs in memory.
func strictSession(t *testing.T, a, b *vnet.NATType) bool {
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	lf := logging.NewDefaultLoggerFactory()
	wan, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "203.0.113.0/24", LoggerFactory: lf, MinDelay: 5 * time.Millisecond})
	must(err)
	srv, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{server}})
	must(err)
	must(wan.AddNet(srv))
	var machines []*vnet.Net
	for i, nat := range []*vnet.NATType{a, b} {
		lan, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "192.168.1.0/24", StaticIPs: []string{fmt.Sprintf("203.0.113.%d", 20+i)}, NATType: nat, LoggerFactory: lf})
		must(err)
		n, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{homeIP}})
		must(err)
		must(lan.AddNet(n))
		must(wan.AddRouter(lan))
		machines = append(machines, n)
	}
	must(wan.Start())
	conn, err := srv.ListenPacket("udp4", net.JoinHostPort(server, "3478"))
	must(err)
	done := make(chan struct{})
	go func() {
		_ = stunsrv.Serve(conn, stunsrv.Config{})
		close(done)
	}()
	defer func() {
		must(conn.Close())
		<-done
		must(wan.Stop())
	}()
	return session(t, machines[0], machines[1], server+":3478", time.Second/2, reflexive, ice.NetworkTypeUDP4)
}
