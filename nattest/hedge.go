package nattest

import (
	"context"
	"net"
	"strings"
	"time"
)

// dialAt is when a TCP connection is tried, until one try succeeds. A lost SYN
// is sent again by the system after a second only, and then after two.
var dialAt = [...]time.Duration{0, 250 * time.Millisecond, 600 * time.Millisecond}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// hedged is dial that tries again beside a try that takes long. The first
// connection counts, and so does the first error: a refusal is an answer.
func hedged(dial dialFunc) dialFunc {
	type result struct {
		conn net.Conn
		err  error
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !strings.HasPrefix(network, "tcp") {
			return dial(ctx, network, addr)
		}
		ctx, cancel := context.WithCancel(ctx)
		results := make(chan result, len(dialAt))
		begun := 0
		begin := func() {
			begun++
			go func() {
				conn, err := dial(ctx, network, addr)
				results <- result{conn, err}
			}()
		}
		begin()
		start, next := time.Now(), time.NewTimer(dialAt[1])
		defer next.Stop()
		for {
			select {
			case r := <-results:
				cancel()
				go func() { // those that were too late
					for range begun - 1 {
						if r := <-results; r.conn != nil {
							r.conn.Close()
						}
					}
				}()
				return r.conn, r.err
			case <-next.C:
				if begin(); begun < len(dialAt) {
					next.Reset(time.Until(start.Add(dialAt[begun])))
				}
			}
		}
	}
}
