//go:build linux

package netns

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"turnkey/lab/need"
)

// sender answers each datagram with the address it came from.
func sender(_ []byte, from net.Addr) []byte { return []byte(from.String()) }

// seenFrom asks a listener which address h has for it.
func seenFrom(t *testing.T, h *Host, listener string) string {
	t.Helper()
	conn, err := h.Dial(t.Context(), "udp", listener)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("no answer from %s: %v", listener, err)
	}
	host, _, err := net.SplitHostPort(string(buf[:n]))
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func TestHostsOnASwitchReachEachOther(t *testing.T) {
	n := New(t)
	sw := n.Switch("sw")
	a, b := n.Host("a"), n.Host("b")
	a.Join(sw, "eth0", "203.0.113.10/24", "2001:db8::10/64")
	b.Join(sw, "eth0", "203.0.113.20/24", "2001:db8::20/64")
	a.Answer("203.0.113.10:3478", sender)
	a.Answer("[2001:db8::10]:3478", sender)
	if got, want := seenFrom(t, b, "203.0.113.10:3478"), "203.0.113.20"; got != want {
		t.Errorf("IPv4: seen from %s, want %s", got, want)
	}
	if got, want := seenFrom(t, b, "[2001:db8::10]:3478"), "2001:db8::20"; got != want {
		t.Errorf("IPv6: seen from %s, want %s", got, want)
	}
}

func TestRouterTranslatesAddresses(t *testing.T) {
	n := New(t)
	server, router, client := n.Host("server"), n.Host("router"), n.Host("client")
	server.Cable("eth0", router, "wan0")
	client.Cable("eth0", router, "lan0")
	server.Addr("eth0", "203.0.113.10/24")
	router.Addr("wan0", "203.0.113.1/24")
	router.Addr("lan0", "192.168.1.1/24")
	router.Sysctl("net.ipv4.ip_forward", "1")
	client.Addr("eth0", "192.168.1.2/24")
	client.Route("default", "via", "192.168.1.1")
	router.NFT(`table ip nat {
		chain post {
			type nat hook postrouting priority srcnat
			oifname "wan0" masquerade
		}
	}`)
	server.Answer("203.0.113.10:3478", sender)
	if got, want := seenFrom(t, client, "203.0.113.10:3478"), "203.0.113.1"; got != want {
		t.Errorf("seen from %s, want %s", got, want)
	}
}

func TestNothingIsLeftWhenTheTestEnds(t *testing.T) {
	var name string
	var sleeper *exec.Cmd
	ok := t.Run("inner", func(t *testing.T) {
		h := New(t).Host("h")
		name = h.ns
		sleeper = h.Command(context.WithoutCancel(t.Context()), "sh", "-c", "echo; exec sleep 600")
		begun, err := sleeper.StdoutPipe()
		if err == nil {
			err = sleeper.Start()
		}
		if err == nil {
			_, err = begun.Read(make([]byte, 1)) // by now it is in the namespace
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if !ok {
		return
	}
	err := sleeper.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Errorf("process in a removed namespace: got %v, want killed", err)
	}
	if exists(t, name) {
		t.Errorf("namespace %s still exists", name)
	}
}

func TestNewSweepsDeadRunsOnly(t *testing.T) {
	need.Root(t)
	need.Programs(t, "ip")
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	leftover := "tk-" + strconv.Itoa(dead.ProcessState.Pid()) + "-000000-h"
	alive := "tk-" + strconv.Itoa(os.Getppid()) + "-000000-h"
	for _, name := range []string{leftover, alive} {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	}
	New(t)
	if exists(t, leftover) {
		t.Errorf("namespace %s of a dead process was kept", leftover)
	}
	if !exists(t, alive) {
		t.Errorf("namespace %s of a live process was removed", alive)
	}
}

func exists(t *testing.T, name string) bool {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(out), name)
}
