package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	nobody := fmt.Sprintf("127.0.0.1:%d", ports[0])
	for _, tt := range []struct {
		args    string
		environ map[string]string
		want    int
		stderr  string
	}{
		{args: "", want: 2, stderr: "Commands:"},
		{args: "help", want: 0},
		{args: "serve -h", want: 0},
		{args: "version", want: 0},
		{args: "wrong", want: 2, stderr: "wrong"},
		{args: "serve -wrong", want: 2, stderr: "-wrong"},
		{args: "serve -check", environ: map[string]string{"TURNKEY_PORT": "0"}, want: 2, stderr: "TURNKEY_PORT"},
		{args: "creds", environ: map[string]string{"TURNKEY_HTTP": nobody}, want: 1, stderr: "turnkey serve"},
		{args: "token -room a/b", environ: map[string]string{"TURNKEY_API_KEY": "0123456789abcdef"}, want: 2, stderr: "room"},
		{args: "nattest", want: 2, stderr: "which server"},
		{args: "nattest " + nobody, want: 5, stderr: nobody},
		{args: "nattest a://b", want: 2},
		{args: "check", environ: map[string]string{"TURNKEY_HTTP": nobody}, want: 1},
		{args: "check", environ: map[string]string{"TURNKEY_HTTP": "nonsense"}, want: 2, stderr: "TURNKEY_HTTP"},
		{args: "check " + nobody, want: 1},
	} {
		var stdout, stderr bytes.Buffer
		got := run(t.Context(), strings.Fields(tt.args), tt.environ, &stdout, &stderr)
		if got != tt.want || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("turnkey %s: got exit %d, stderr %q, want %d and %q", tt.args, got, stderr.String(), tt.want, tt.stderr)
		}
	}
}
