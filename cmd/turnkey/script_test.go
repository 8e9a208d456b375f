package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"turnkey": main})
}

// TestScripts runs the command line as a person would. Scripts have free ports
// in $PORT, $ALT and $HTTP, and TURNKEY_ settings for them and for loopback.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			ports, err := freePorts(3)
			if err != nil {
				return err
			}
			for i, name := range []string{"PORT", "ALT", "HTTP"} {
				e.Setenv(name, strconv.Itoa(ports[i]))
			}
			e.Setenv("TURNKEY_LISTEN", "127.0.0.1")
			e.Setenv("TURNKEY_PORT", strconv.Itoa(ports[0]))
			e.Setenv("TURNKEY_ALT_PORT", strconv.Itoa(ports[1]))
			e.Setenv("TURNKEY_HTTP", fmt.Sprintf("127.0.0.1:%d", ports[2]))
			e.Setenv("TURNKEY_RELAY_PORTS", "20000-20009")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"healthy": healthy,
			"json":    isJSON,
		},
		RequireExplicitExec: true,
	})
}

// lastPort is the last port that freePorts has looked at.
var lastPort atomic.Int32

// freePorts returns ports that are free for UDP and TCP on loopback, below the
// range that the system takes ports from, and never the same twice.
func freePorts(n int) ([]int, error) {
	var ports []int
	for len(ports) < n {
		port := 21000 + os.Getpid()%5000 + int(lastPort.Add(1))
		if port > 32000 {
			return nil, fmt.Errorf("no %d free ports", n)
		}
		at := fmt.Sprintf("127.0.0.1:%d", port)
		u, err := net.ListenPacket("udp4", at)
		if err != nil {
			continue
		}
		u.Close()
		l, err := net.Listen("tcp4", at)
		if err != nil {
			continue
		}
		l.Close()
		ports = append(ports, port)
	}
	return ports, nil
}

// healthy waits until the server of the script answers GET /healthz.
func healthy(ts *testscript.TestScript, neg bool, args []string) {
	url := "http://127.0.0.1:" + ts.Getenv("HTTP") + "/healthz"
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		res, err := http.Get(url)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
	}
	ts.Fatalf("not healthy after 10 s")
}

// isJSON checks that a file, or stdout, is one JSON value that holds the keys named.
func isJSON(ts *testscript.TestScript, neg bool, args []string) {
	var v any
	text := ts.ReadFile(args[0])
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		ts.Fatalf("%s is not JSON: %v", args[0], err)
	}
	for _, key := range args[1:] {
		if !strings.Contains(text, strconv.Quote(key)) {
			ts.Fatalf("%s has no %q", args[0], key)
		}
	}
}
