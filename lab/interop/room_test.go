//go:build linux

package interop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"turnkey/lab/need"
	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// pairLimit is more than the 20 s that each end of a room allows itself, and the
// start of two browsers on a busy machine.
const pairLimit = 2 * time.Minute

// talkers are the WebRTC stacks that meet in rooms, with the command in
// lab/interop/room for each. All take the same arguments: the URL of the
// signaling endpoint, the room and a name.
var talkers = []struct {
	name    string
	command []string
}{
	{"chromium", []string{"node", "drive.mjs", "chromium"}},
	{"aiortc", []string{"/usr/bin/python3", "aiortc_chat.py"}},
	{"firefox", []string{"node", "drive.mjs", "firefox"}},
	{"pion", []string{"pion"}},
	{"werift", []string{"node", "werift.mjs"}},
	{"webrtcbin", []string{"/usr/bin/python3", "webrtcbin_chat.py"}},
	{"node-datachannel", []string{"node", "node-datachannel.mjs"}},
	{"wrtc", []string{"node", "wrtc.mjs"}},
}

// pairings are who offers to whom, by their places in talkers: in the short form each
// to the next, and some to the third.
func pairings() (list [][2]int) {
	for i := range talkers {
		for j := range talkers {
			distance := (j - i + len(talkers)) % len(talkers)
			if need.Long() || distance == 1 || distance == 3 && i%2 == 0 {
				list = append(list, [2]int{i, j})
			}
		}
	}
	return list
}

// meeting is a server, and a host on which all stacks run.
type meeting struct {
	host *netns.Host
	dir  string // of the commands
	pion string // where its command was built
}

// Every stack meets others in a room of the server, by nothing but the native
// protocol and the ICE servers in its welcome, once as who offers and once as who
// answers; LONG=1: each with each, and with itself. None hears of an error or of a
// warning.
func TestRooms(t *testing.T) {
	need.Programs(t, "node", "chromium", "firefox-esr")
	for _, s := range stacks {
		needFiles(t, s.files)
	}
	needFiles(t, []string{"/usr/lib/python3/dist-packages/websockets"})
	dir, err := filepath.Abs("room")
	if err != nil {
		t.Fatal(err)
	}
	need.Path(t, filepath.Join(dir, "node_modules", "werift"), "run ci/deps.sh")
	m := meeting{dir: dir, pion: filepath.Join(t.TempDir(), "pion")}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", m.pion, "./room").CombinedOutput(); err != nil {
		t.Fatalf("build ./room: %v: %s", err, out)
	}
	n := netns.New(t)
	lan, server := n.Switch("lan"), n.Host("server")
	m.host = n.Host("stacks")
	server.Join(lan, "eth0", serverIP+"/24")
	m.host.Join(lan, "eth0", clientIP+"/24")
	m.host.Route("default", "via", serverIP)
	program.Start(t, program.Config{Host: server, Env: []string{
		"TURNKEY_PUBLIC_IP=" + serverIP, "TURNKEY_AUTH=open", "TURNKEY_SECRET=" + secret, "TURNKEY_PEERS_PER_IP=1000",
		"TURNKEY_ALLOW_PEERS=" + clientIP, "TURNKEY_DRAIN_TIMEOUT=1s"}})
	for _, p := range pairings() {
		t.Run(talkers[p[0]].name+"-to-"+talkers[p[1]].name, func(t *testing.T) {
			t.Parallel()
			m.pair(t, p[0], p[1])
		})
	}
}

// pair lets two stacks talk in a room of their own: the second is there first, so
// the first has to offer.
func (m meeting) pair(t *testing.T, offers, answers int) {
	ctx, cancel := context.WithTimeout(t.Context(), pairLimit)
	defer cancel()
	room := strings.ReplaceAll(t.Name(), "/", ".")
	host, guest := m.end(ctx, t, answers, room, "host"), m.end(ctx, t, offers, room, "guest")
	for _, e := range []*end{host, guest} {
		if err := e.prepare(); err != nil {
			t.Fatal(err)
		}
	}
	if err := host.enter(); err != nil {
		t.Fatal(err)
	}
	if !host.said("joined") {
		t.Fatalf("nobody to offer to: %v", host.wait())
	}
	begun := time.Now()
	if err := guest.enter(); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*end{host, guest} {
		if err := e.wait(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%s", time.Since(begun).Round(10*time.Millisecond))
}

// end is one stack at work.
type end struct {
	name    string
	browser bool
	cmd     *exec.Cmd
	input   io.WriteCloser
	lines   chan string // of its output, closed with it
	errors  strings.Builder
}

func (m meeting) end(ctx context.Context, t *testing.T, talker int, room, as string) *end {
	t.Helper()
	command := talkers[talker].command
	browser := slices.Contains(command, "drive.mjs")
	if command[0] == "pion" {
		command = []string{m.pion}
	}
	args := append(command[1:len(command):len(command)], "ws://"+serverIP+":8080/v1/ws", room, as)
	e := &end{name: talkers[talker].name, browser: browser, cmd: m.host.Command(ctx, command[0], args...), lines: make(chan string, 64)}
	home, err := os.MkdirTemp("", "tk-room-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) }) // a killed browser may still write there
	e.cmd.Dir, e.cmd.Stderr, e.cmd.WaitDelay = m.dir, &e.errors, time.Second
	e.cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home)
	return e
}

// prepare starts a browser, which takes its time.
func (e *end) prepare() error {
	if !e.browser {
		return nil
	}
	if err := e.start(); err != nil {
		return err
	}
	if !e.said("ready") {
		return fmt.Errorf("it did not start: %w", e.wait())
	}
	return nil
}

// enter has the stack join the room.
func (e *end) enter() error {
	if !e.browser {
		return e.start()
	}
	_, err := fmt.Fprintln(e.input)
	return err
}

func (e *end) start() error {
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if e.input, err = e.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := e.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", e.name, err)
	}
	go func() {
		defer close(e.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			e.lines <- s.Text()
		}
	}()
	return nil
}

// said reports whether the stack comes to say the line.
func (e *end) said(line string) bool {
	for l := range e.lines {
		if l == line {
			return true
		}
	}
	return false
}

// wait returns nil if the stack heard the other, and the other it.
func (e *end) wait() error {
	for range e.lines {
	}
	if err := e.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", e.name, err, e.errors.String())
	}
	return nil
}
