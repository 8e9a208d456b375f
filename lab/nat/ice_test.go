package nat

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/stun/v3"
	"github.com/pion/transport/v4"
)

// kinds of candidates that agents tell each other.
var (
	reflexive = []ice.CandidateType{ice.CandidateTypeServerReflexive}
	anyDirect = []ice.CandidateType{ice.CandidateTypeHost, ice.CandidateTypeServerReflexive}
)

// session lets an ICE agent (RFC 8445) on a and one on b reach each other
// without a relay, and reports whether data passed both ways within the time
// that they may try. The STUN server is asked by the network types given.
func session(t *testing.T, a, b transport.Net, server string, patience time.Duration, candidates []ice.CandidateType, types ...ice.NetworkType) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	controlling, controlled := newAgent(t, a, server, candidates, types), newAgent(t, b, server, candidates, types)
	defer controlling.close(t)
	defer controlled.close(t)
	controlling.gather(ctx, t)
	controlled.gather(ctx, t)
	controlling.learn(t, controlled)
	controlled.learn(t, controlling)

	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	echoed := make(chan error, 1)
	go func() { echoed <- controlled.echo(ctx, controlling) }()
	err := controlling.ask(ctx, controlled)
	if err != nil {
		cancel() // nobody will ask
	}
	other := <-echoed
	if (err == nil) != (other == nil) {
		t.Errorf("one agent: %v, the other: %v", err, other)
	}
	return err == nil
}

type agent struct {
	*ice.Agent
	gathered chan struct{}
}

func newAgent(t *testing.T, n transport.Net, server string, candidates []ice.CandidateType, types []ice.NetworkType) agent {
	t.Helper()
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ice.NewAgentWithOptions(
		ice.WithNet(n),
		ice.WithUrls([]*stun.URI{{Scheme: stun.SchemeTypeSTUN, Host: host, Port: number, Proto: stun.ProtoTypeUDP}}),
		ice.WithCandidateTypes(candidates),
		ice.WithNetworkTypes(types),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithSTUNGatherTimeout(2*time.Second),
		// Both sides go on trying for as long as the session may take.
		ice.WithMaxBindingRequests(100),
		ice.WithFailedTimeout(time.Minute),
		ice.WithSrflxAcceptanceMinWait(0),
		ice.WithPrflxAcceptanceMinWait(0),
		ice.WithLoggerFactory(&logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return agent{a, make(chan struct{})}
}

// gather waits for all candidates.
func (a agent) gather(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := a.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(a.gathered)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.GatherCandidates(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.gathered:
	case <-ctx.Done():
		t.Fatal("candidates were not gathered in time")
	}
}

// learn takes over the other's candidates, in the words of RFC 8839.
func (a agent) learn(t *testing.T, other agent) {
	t.Helper()
	candidates, err := other.GetLocalCandidates()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range candidates {
		remote, err := ice.UnmarshalCandidate(c.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if err := a.AddRemoteCandidate(remote); err != nil {
			t.Fatal(err)
		}
	}
}

// ask connects and sends a word until it comes back.
func (a agent) ask(ctx context.Context, other agent) error {
	user, password, err := other.GetLocalUserCredentials()
	if err != nil {
		return err
	}
	conn, err := a.Dial(ctx, user, password)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	return exchange(ctx, conn)
}

// echo connects and sends and awaits the same.
func (a agent) echo(ctx context.Context, other agent) error {
	user, password, err := other.GetLocalUserCredentials()
	if err != nil {
		return err
	}
	conn, err := a.Accept(ctx, user, password)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return exchange(ctx, conn)
}

// exchange sends a word and awaits the other's.
func exchange(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write([]byte("hello")); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	buf := make([]byte, 64)
	if _, err := conn.Read(buf); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return nil
}

func (a agent) close(t *testing.T) {
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
