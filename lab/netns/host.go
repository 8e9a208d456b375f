//go:build linux

package netns

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A Host is one machine of a [Net]. Its methods that build the network end
// the test when they fail. A nil *Host is the machine that the test runs on:
// it can run commands and dial, nothing else.
type Host struct {
	t  testing.TB
	ns string
}

// Join plugs a new interface dev of h into sw and gives it the addresses, in
// CIDR notation.
func (h *Host) Join(sw *Switch, dev string, cidrs ...string) {
	h.t.Helper()
	sw.ports++
	port := fmt.Sprintf("port%d", sw.ports)
	h.cable(dev, sw.h, port)
	h.ip("-n", sw.h.ns, "link", "set", port, "master", "br0")
	h.Addr(dev, cidrs...)
}

// Cable joins a new interface dev of h to a new interface peerDev of peer.
func (h *Host) Cable(dev string, peer *Host, peerDev string) {
	h.t.Helper()
	h.cable(dev, peer, peerDev)
}

func (h *Host) cable(dev string, peer *Host, peerDev string) {
	h.t.Helper()
	h.ip("link", "add", dev, "netns", h.ns, "type", "veth", "peer", "name", peerDev, "netns", peer.ns)
	h.ip("-n", h.ns, "link", "set", dev, "up")
	h.ip("-n", peer.ns, "link", "set", peerDev, "up")
}

// Addr adds addresses, in CIDR notation, to an interface. They can be used
// at once: IPv6 addresses skip the search for duplicates.
func (h *Host) Addr(dev string, cidrs ...string) {
	h.t.Helper()
	for _, cidr := range cidrs {
		args := []string{"-n", h.ns, "addr", "add", cidr, "dev", dev}
		if strings.Contains(cidr, ":") {
			args = append(args, "nodad")
		}
		h.ip(args...)
	}
}

// Route adds a route in the words of ip(8): "default", "via", "10.0.0.1".
func (h *Host) Route(args ...string) {
	h.t.Helper()
	h.ip(append([]string{"-n", h.ns, "route", "add"}, args...)...)
}

// Sysctl sets a kernel parameter of h, such as net.ipv4.ip_forward.
func (h *Host) Sysctl(name, value string) {
	h.t.Helper()
	h.must(h.Command(h.t.Context(), "sysctl", "-qw", name+"="+value))
}

// Run runs a command on h, such as ip or tc, to its end.
func (h *Host) Run(name string, args ...string) {
	h.t.Helper()
	h.must(h.Command(h.t.Context(), name, args...))
}

// NFT adds the rules of an nftables script.
func (h *Host) NFT(script string) {
	h.t.Helper()
	cmd := h.Command(h.t.Context(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	h.must(cmd)
}

// Command is [exec.CommandContext] on h. The command is killed when the test
// process dies; when the test ends, everything still running on h is.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	if h != nil {
		args = append([]string{"netns", "exec", h.ns, name}, args...)
		cmd = exec.CommandContext(ctx, "ip", args...)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (h *Host) ip(args ...string) {
	h.t.Helper()
	h.must(exec.CommandContext(h.t.Context(), "ip", args...))
}

func (h *Host) must(cmd *exec.Cmd) {
	h.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("%s: %v: %s", strings.Join(cmd.Args, " "), err, out)
	}
}
