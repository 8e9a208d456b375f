//go:build linux

package packaging

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"turnkey/lab/netns"
	"turnkey/lab/program"
)

// image is the last stage of the Dockerfile as a directory to change root
// into: what it copies, and nothing else, not even /dev and /proc.
type image struct {
	host     *netns.Host
	stage    []instruction
	dir      string
	uid, gid int
	env      []string // of ENV
}

// roots is where the image has its certificates.
const roots = "/etc/ssl/certs/ca-certificates.crt"

// newImage builds the image from the source, with rootsPEM for the roots of
// the builder's base image.
func newImage(t *testing.T, h *netns.Host, rootsPEM []byte) *image {
	t.Helper()
	out := build(t, "1.2.3-lab")
	i := &image{host: h, stage: dockerfile(t)[1], dir: t.TempDir()}
	if err := os.Chmod(i.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if from := one(t, i.stage, "FROM"); from != "scratch" {
		t.Fatalf("the last stage begins with %q, want scratch: its files are unknown here", from)
	}
	i.uid, i.gid = ids(t, one(t, i.stage, "USER"))
	i.env = all(i.stage, "ENV")
	for _, args := range all(i.stage, "COPY") {
		i.copy(t, out, rootsPEM, strings.Fields(args))
	}
	return i
}

// ids reads UID:GID: names mean nothing without an /etc/passwd.
func ids(t *testing.T, user string) (uid, gid int) {
	t.Helper()
	a, b, _ := strings.Cut(user, ":")
	uid, err := strconv.Atoi(a)
	if err == nil {
		gid, err = strconv.Atoi(b)
	}
	if err != nil || uid == 0 || gid == 0 {
		t.Fatalf("got the user %q, want numbers other than 0", user)
	}
	return uid, gid
}

func (i *image) copy(t *testing.T, out string, rootsPEM []byte, args []string) {
	t.Helper()
	uid, gid := 0, 0
	for ; strings.HasPrefix(args[0], "--"); args = args[1:] {
		if owner, ok := strings.CutPrefix(args[0], "--chown="); ok {
			uid, gid = ids(t, owner)
		}
	}
	to := filepath.Join(i.dir, args[1])
	err := os.MkdirAll(filepath.Dir(to), 0o755)
	if name, ok := strings.CutPrefix(args[0], "/out/"); ok && err == nil {
		err = os.Rename(filepath.Join(out, name), to)
	} else if err == nil && args[0] == roots {
		err = os.WriteFile(to, rootsPEM, 0o644)
	} else if err == nil {
		t.Fatalf("COPY %q: what is it?", args)
	}
	if err == nil && uid != 0 { // what belongs to root does already, and would lose its capability
		err = os.Chown(to, uid, gid)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// command is argv in the image: as its user, on its host, with its environment
// and env.
func (i *image) command(ctx context.Context, env []string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = "/", append(i.env[:len(i.env):len(i.env)], env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     i.dir,
		Credential: &syscall.Credential{Uid: uint32(i.uid), Gid: uint32(i.gid)},
	}
	return cmd
}

// run runs argv to its end and returns its exit code and all of its output.
func (i *image) run(t *testing.T, env []string, argv ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := i.command(ctx, env, argv...)
	var both program.Lines
	cmd.Stdout, cmd.Stderr = &both, &both
	if err := i.host.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), strings.Join(both.All(), "\n")
}

// container is a running image.
type container struct {
	cmd   *exec.Cmd
	log   program.Lines
	ended chan struct{}
}

// start runs the image's ENTRYPOINT and CMD.
func (i *image) start(t *testing.T, env ...string) *container {
	t.Helper()
	c := &container{ended: make(chan struct{})}
	argv := append(execForm(t, one(t, i.stage, "ENTRYPOINT")), execForm(t, one(t, i.stage, "CMD"))...)
	c.cmd = i.command(context.Background(), env, argv...)
	c.cmd.Stderr = &c.log
	if err := i.host.Do(c.cmd.Start); err != nil {
		t.Fatal(err)
	}
	go func() { _ = c.cmd.Wait(); close(c.ended) }()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.ended
		if t.Failed() {
			t.Logf("log:\n%s", strings.Join(c.log.All(), "\n"))
		}
	})
	return c
}

// stop sends STOPSIGNAL and returns the exit code.
func (c *container) stop(t *testing.T, i *image) int {
	t.Helper()
	if got := one(t, i.stage, "STOPSIGNAL"); got != "SIGTERM" {
		t.Fatalf("STOPSIGNAL is %s, want SIGTERM, which drains", got)
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the server does not end after SIGTERM")
	}
	return c.cmd.ProcessState.ExitCode()
}

// healthcheck returns the command of HEALTHCHECK and its timeout.
func (i *image) healthcheck(t *testing.T) (argv []string, timeout time.Duration) {
	t.Helper()
	args := one(t, i.stage, "HEALTHCHECK")
	m := regexp.MustCompile(`--timeout=(\S+)`).FindStringSubmatch(args)
	if m == nil {
		t.Fatalf("HEALTHCHECK %s: no timeout", args)
	}
	timeout, err := time.ParseDuration(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return execForm(t, args), timeout
}
