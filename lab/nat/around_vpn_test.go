//go:build linux

package nat

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"turnkey/lab/netns"
)

// tunnel joins a new interface tun0 of a to one of b, through this process.
func tunnel(t *testing.T, a, b *netns.Host) {
	t.Helper()
	var ends [2]*os.File
	for i, h := range []*netns.Host{a, b} {
		err := h.Do(func() error {
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			request, err := unix.NewIfreq("tun0")
			if err != nil {
				return err
			}
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
				return err
			}
			ends[i] = os.NewFile(uintptr(fd), "tun") // not before: it begins to wait for packets
			return nil
		})
		if err != nil {
			t.Fatalf("open a tunnel: %v", err)
		}
		t.Cleanup(func() { ends[i].Close() })
	}
	carry := func(to, from *os.File) { // until one of them is closed
		buf := make([]byte, 2048)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			_, _ = to.Write(buf[:n]) // an interface that is down drops
		}
	}
	go carry(ends[0], ends[1])
	go carry(ends[1], ends[0])
}

// throughVPN adds a client behind a NAT, with a tunnel to a machine on the
// internet that translates what comes through. Routes are not set.
func (w *world) throughVPN(t *testing.T) (client *netns.Host, exit string) {
	t.Helper()
	client, _, _ = w.chain(t, box{[]string{onWAN}, home9, translate, ""})
	w.last++
	exit = fmt.Sprintf("203.0.113.%d", w.last)
	gate := netns.New(t).Host("exit")
	gate.Join(w.wan, "wan0", exit+"/24")
	gate.Sysctl("net.ipv4.ip_forward", "1")
	gate.NFT(translate)
	tunnel(t, client, gate)
	ip := func(h *netns.Host, args ...string) {
		t.Helper()
		if out, err := h.Command(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	client.Addr("tun0", "10.8.0.2/24")
	gate.Addr("tun0", "10.8.0.1/24")
	ip(client, "link", "set", "tun0", "up", "mtu", "1400")
	ip(gate, "link", "set", "tun0", "up")
	return client, exit
}

func (w *world) vpn(t *testing.T) {
	t.Run("VPN, all of it", func(t *testing.T) {
		client, exit := w.throughVPN(t)
		client.Route("0.0.0.0/1", "dev", "tun0") // as OpenVPN sets it
		client.Route("128.0.0.0/1", "dev", "tun0")
		t.Parallel()
		got := lookAround(t, client)
		if got.VPN.State != "yes" || !contains(got.VPN.Why, "tun0 (tun)") || got.Local.Interface != "tun0" || got.Local.MTU != 1400 || got.CGN.State != "unknown" || got.DoubleNAT.State != "unknown" {
			t.Errorf("got %+v, want a VPN through tun0 that hides the line", got)
		}
		if got.HTTP.State != "same" || got.HTTP.Seen.String() != exit {
			t.Errorf("got %+v, want HTTP seen from %s, as UDP is", got.HTTP, exit)
		}
	})
	t.Run("VPN, not the way to the server", func(t *testing.T) {
		client, _ := w.throughVPN(t)
		t.Parallel()
		got := lookAround(t, client)
		if got.VPN.State != "no" || !contains(got.VPN.Why, "tun0 (tun) is up") || got.CGN.State != "no" {
			t.Errorf("got %+v, want no VPN on the way, tun0 named, and no CGN", got)
		}
	})
	t.Run("VPN, web only", func(t *testing.T) {
		client, exit := w.throughVPN(t)
		client.Route("default", "dev", "tun0", "table", "100")
		if out, err := client.Command(t.Context(), "ip", "rule", "add", "ipproto", "tcp", "dport", "8080", "table", "100").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Parallel()
		got := lookAround(t, client)
		if got.HTTP.State != "differs" || got.HTTP.Seen.String() != exit || got.VPN.State != "no" {
			t.Errorf("got HTTP %+v and VPN %+v, want HTTP seen from %s and UDP from elsewhere", got.HTTP, got.VPN, exit)
		}
	})
	t.Run("VPN, by its name", func(t *testing.T) {
		client, _, _ := w.chain(t, box{[]string{onWAN}, home9, translate, ""})
		for _, args := range []string{"link set eth0 down", "link set eth0 name wg0", "link set wg0 up", "route add default via 192.168.9.1"} {
			if out, err := client.Command(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v: %s", args, err, out)
			}
		}
		t.Parallel()
		if got := lookAround(t, client); got.VPN.State != "yes" || !contains(got.VPN.Why, "wg0") {
			t.Errorf("got %+v, want a VPN called wg0", got.VPN)
		}
	})
}

func (w *world) portal(t *testing.T) {
	// A portal answers HTTP for everybody, and lets nothing through.
	const caught = `table ip portal {
	chain pre { type nat hook prerouting priority dstnat; iifname "lan0" tcp dport { 80, 8080 } redirect to :8000; }
}
`
	closed := filter("forward", "drop")
	redirect := http.RedirectHandler("http://login.lab/", http.StatusFound)
	page := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, "<html>Welcome! Please log in.</html>")
	})
	proxy := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "no route", http.StatusBadGateway) })
	for _, tt := range []struct {
		name, rules string
		web         http.Handler
		want        string // in the hint, "" for no captive portal
	}{
		{"redirect", caught + closed, redirect, "captive portal: this network answers HTTP in the place of any address (HTTP 302) and leads to login.lab"},
		{"page", caught + closed, page, "captive portal: this network answers HTTP in the place of any address (HTTP 200)"},
		{"a proxy that reaches nobody", caught + closed, proxy, ""},
		{"nothing gets through", closed, nil, ""},
		// Another web server in the server's place is no captive portal.
		{"the wrong host", strings.ReplaceAll(caught, `iifname "lan0"`, "ip daddr "+server) + closed, redirect, ""},
	} {
		t.Run("portal, "+tt.name, func(t *testing.T) {
			client, routers, _ := w.chain(t, box{[]string{onWAN}, home9, translate + tt.rules, ""})
			if tt.web != nil {
				serveHTTP(t, routers[0], tt.web)
			}
			t.Parallel()
			got := turnkey(t, client, apiKey, "nattest", "-json", api)
			var r struct {
				Error struct{ Message, Hint string }
			}
			got.decode(t, &r)
			if got.exit != 5 || r.Error.Message == "" {
				t.Errorf("got exit code %d, %+v; want 5, unreachable", got.exit, r.Error)
			}
			if tt.want != "" && !contains(r.Error.Hint, tt.want) || tt.want == "" && contains(r.Error.Hint, "captive") {
				t.Errorf("got hint %q, want %q in it", r.Error.Hint, tt.want)
			}
		})
	}
}

// serveHTTP answers on port 8000 of h until the test ends.
func serveHTTP(t *testing.T, h *netns.Host, handler http.Handler) {
	t.Helper()
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = net.Listen("tcp", ":8000")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
}
