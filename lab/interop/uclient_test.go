//go:build linux

package interop

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// traffic is what coturn's uclient sent and got back.
type traffic struct{ sent, received, lost int }

// uclient runs turnutils_uclient on the client's host against the server.
// The error says that it did not come to send anything, and why.
func (w world) uclient(t *testing.T, c credential, args ...string) (traffic, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// -v shows error codes; -c leaves out RTCP, which would double the clients.
	args = slices.Concat([]string{"-v", "-c", "-u", c.username, "-w", c.password}, args, []string{serverIP})
	cmd := w.client.Command(ctx, "turnutils_uclient", args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("run turnutils_uclient: %v: %s", err, out)
	}
	if err != nil {
		return traffic{}, errors.New(complaint(string(out)))
	}
	got, err := parse(string(out))
	if err != nil {
		t.Fatalf("turnutils_uclient succeeded, but %v:\n%s", err, out)
	}
	return got, nil
}

var (
	totals = regexp.MustCompile(`(?m): start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)$`)
	losses = regexp.MustCompile(`(?m): Total lost packets (\d+) \([0-9.]+%\), total send dropped (\d+) \([0-9.]+%\)$`)
)

// parse reads the closing lines of a run that came to its end. uclient exits
// with 0 whatever was lost, so these lines are all there is.
func parse(out string) (traffic, error) {
	total, loss := totals.FindStringSubmatch(out), losses.FindStringSubmatch(out)
	if total == nil || loss == nil {
		return traffic{}, errors.New("its totals are missing")
	}
	var numbers []int
	for _, digits := range slices.Concat(total[1:], loss[1:]) {
		n, err := strconv.Atoi(digits)
		if err != nil {
			return traffic{}, fmt.Errorf("its totals are odd: %w", err)
		}
		numbers = append(numbers, n)
	}
	if numbers[3] != 0 {
		return traffic{}, fmt.Errorf("it could not send %d messages", numbers[3])
	}
	return traffic{sent: numbers[0], received: numbers[1], lost: numbers[2]}, nil
}

// complaint returns the last line about an error of a run that failed.
func complaint(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range slices.Backward(lines) {
		if strings.Contains(strings.ToLower(line), "error") {
			return line
		}
	}
	return lines[len(lines)-1]
}

func TestParse(t *testing.T) {
	const end = `4: : start_mclient: msz=4, tot_send_msgs=60, tot_recv_msgs=60, tot_send_bytes ~ 6000, tot_recv_bytes ~ 6000
4: : start_mclient: tot_send_msgs=80, tot_recv_msgs=78
4: : start_mclient: tot_send_bytes ~ 8000, tot_recv_bytes ~ 7800
4: : Total transmit time is 4
4: : Total lost packets 2 (2.500000%), total send dropped 0 (0.000000%)
4: : Average round trip delay 0.000000 ms; min = 0 ms, max = 0 ms
`
	tests := []struct {
		name, out string
		want      traffic
		fails     bool
	}{
		{"complete", end, traffic{80, 78, 2}, false},
		{"cut off", end[:200], traffic{}, true},
		{"no losses line", strings.ReplaceAll(end, "Total lost", "lost"), traffic{}, true},
		{"could not send", strings.ReplaceAll(end, "dropped 0", "dropped 3"), traffic{}, true},
		{"silent", "", traffic{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(tt.out)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %+v, error %v; want %+v, failure %t", got, err, tt.want, tt.fails)
			}
		})
	}
}
