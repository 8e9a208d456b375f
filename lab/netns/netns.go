//go:build linux

// Package netns makes small networks of Linux network namespaces for tests:
// hosts, switches and routers, each with interfaces, routes and nftables
// rules of its own.
//
//	net := netns.New(t)
//	wan := net.Switch("wan")
//	server, client := net.Host("server"), net.Host("client")
//	server.Join(wan, "eth0", "203.0.113.10/24")
//	client.Join(wan, "eth0", "203.0.113.20/24")
//	client.Route("default", "via", "203.0.113.1")
//	out, err := client.Command(ctx, "turnutils_stunclient", "203.0.113.10").Output()
//
// Every host is removed when the test ends, and the processes in it are
// killed. What a killed test run left behind is removed by the next [New].
// It needs root and the programs ip and, for [Host.NFT], nft.
package netns

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"turnkey/lab/need"
)

// A Net is the hosts of one test.
type Net struct {
	t      testing.TB
	prefix string // tk-<pid>-<random>-
}

// New returns an empty network that lives as long as t.
func New(t testing.TB) *Net {
	t.Helper()
	need.Root(t)
	need.Programs(t, "ip", "nft", "sysctl")
	sweep(t)
	var random [3]byte
	_, _ = rand.Read(random[:])
	return &Net{t: t, prefix: fmt.Sprintf("tk-%d-%s-", os.Getpid(), hex.EncodeToString(random[:]))}
}

// Host adds a machine with nothing but a loopback interface. The name is for
// messages and has to be new to n.
func (n *Net) Host(name string) *Host {
	n.t.Helper()
	h := &Host{t: n.t, ns: n.prefix + name}
	h.ip("netns", "add", h.ns)
	n.t.Cleanup(func() {
		if err := remove(h.ns); err != nil {
			n.t.Error(err)
		}
	})
	h.ip("-n", h.ns, "link", "set", "lo", "up")
	return h
}

// Switch adds an Ethernet switch, for [Host.Join].
func (n *Net) Switch(name string) *Switch {
	n.t.Helper()
	h := n.Host(name)
	h.ip("-n", h.ns, "link", "add", "br0", "type", "bridge")
	h.ip("-n", h.ns, "link", "set", "br0", "up")
	// Without this a NAT rule of the machine could see bridged packets.
	if _, err := os.Stat("/proc/sys/net/bridge"); err == nil {
		h.Sysctl("net.bridge.bridge-nf-call-iptables", "0")
	}
	return &Switch{h: h}
}

// A Switch joins the interfaces of several hosts to one Ethernet.
type Switch struct {
	h     *Host
	ports int
}

// sweep removes the hosts of test processes that no longer run.
func sweep(t testing.TB) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatalf("list network namespaces: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		parts := strings.SplitN(name, "-", 4) // tk, pid, random, host
		if len(parts) != 4 || parts[0] != "tk" {
			continue
		}
		pid, err := strconv.Atoi(parts[1])
		if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		if err := remove(name); err != nil {
			t.Logf("leftover of an earlier run: %v", err)
		}
	}
}

// remove kills what runs in the namespace and deletes it.
func remove(ns string) error {
	pids, err := exec.Command("ip", "netns", "pids", ns).Output()
	if err != nil {
		return fmt.Errorf("list processes of network namespace %s: %w", ns, err)
	}
	for _, field := range strings.Fields(string(pids)) {
		if pid, err := strconv.Atoi(field); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
		return fmt.Errorf("delete network namespace %s: %w: %s", ns, err, out)
	}
	return nil
}
