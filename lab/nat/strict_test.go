package nat

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/transport/v4/vnet"

	"turnkey/stunsrv"
)

// kinds are the nine NATs of RFC 4787 in memory, as vnet makes them: a mapping
// is looked for by what is sent, never by what came in.
func kinds() (names []string, types []*vnet.NATType) {
	short := []string{"I", "A", "AP"} // endpoint-Independent, Address-, Address-and-Port-dependent
	for m := range vnet.EndpointDependencyType(3) {
		for f := range vnet.EndpointDependencyType(3) {
			names = append(names, fmt.Sprintf("m%s/f%s", short[m], short[f]))
			types = append(types, &vnet.NATType{MappingBehavior: m, FilteringBehavior: f, MappingLifeTime: time.Minute})
		}
	}
	return names, types
}

func TestPairsOfStrictNATs(t *testing.T) {
	names, types := kinds()
	got := make([][]bool, len(types))
	for i := range types {
		got[i] = make([]bool, len(types))
		for j := range types[:i+1] {
			t.Run(names[i]+" "+names[j], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					got[i][j] = strictSession(t, types[i], types[j])
				})
			})
		}
	}
	for i := range names {
		t.Log(names[i], got[i][:i+1])
	}
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
	return session(t, machines[0], machines[1], server+":3478", time.Second, reflexive, ice.NetworkTypeUDP4)
}
