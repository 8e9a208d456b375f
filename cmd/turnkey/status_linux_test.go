package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal: what is written to line comes out of screen.
func terminal(t *testing.T) (screen, line *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	screen = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	line, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { line.Close() })
	return screen, line
}

func TestStatusIsForTerminals(t *testing.T) {
	screen, line := terminal(t)
	s := newStatus(line, "xterm")
	s.show(strings.Repeat("long ", 40))
	s.show("short")
	s.clear()
	const begin = "\r\x1b[K"
	var all string
	for buf := make([]byte, 1000); strings.Count(all, begin) < 3; {
		n, err := screen.Read(buf)
		if err != nil {
			t.Fatalf("got %v after %q", err, all)
		}
		all += string(buf[:n])
	}
	shown := strings.Split(all, begin)
	if len(shown) != 4 || len([]rune(shown[1])) != statusWidth || shown[2] != "short" || shown[3] != "" {
		t.Errorf("got %q, want a cut line, short, and nothing", shown)
	}
	file, err := os.Create(t.TempDir() + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	newStatus(file, "xterm").show("words")
	if info, err := file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("got %d bytes in a file, want none", info.Size())
	}
	if s := newStatus(line, "dumb"); s.w != nil {
		t.Error("got a status line on a dumb terminal")
	}
}
