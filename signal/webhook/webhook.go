// Package webhook asks an operator's backend who may join a room, and tells it
// who has left, by signed POST requests. docs/operations.md has their form.
//
// Nobody waits for a backend but who wants to join, and that not long: calls
// have a deadline and there are only so many at once, what is to be told waits
// in a bounded queue, and an answer is read up to a bound. Redirects are not
// followed, and no proxy is used.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of what a backend can cost.
const (
	callTimeout = 3 * time.Second // for one request, and for a turn to make it
	maxAsking   = 64              // joins that are asked about at once
	maxAnswer   = 16 << 10        // bytes
	maxReason   = 200             // bytes of the reason of an answer
	queueLen    = 1024            // of what is to be told
	tellers     = 4               // tell it at once
	logEvery    = 10 * time.Second
)

// pauses are between the attempts to tell of something.
var pauses = [...]time.Duration{time.Second, 4 * time.Second}

// The headers of a request. The signature is "sha256=" and, in hex, HMAC-SHA256
// by the secret over timestamp, a dot and the body.
const (
	HeaderTimestamp = "X-Turnkey-Timestamp" // Unix time in seconds
	HeaderSignature = "X-Turnkey-Signature"
)

// Event is the body of a request.
type Event struct {
	Event   string          `json:"event"` // "join" or "leave"
	Room    string          `json:"room"`
	Peer    string          `json:"peer"`
	Name    string          `json:"name,omitempty"`
	Meta    json.RawMessage `json:"meta,omitempty"`
	Subject string          `json:"subject,omitempty"` // of the token
	Address string          `json:"address,omitempty"` // of the client
	Reason  string          `json:"reason,omitempty"`  // why it left
}

// Config says whom to ask. URL and Secret are needed.
type Config struct {
	URL    string // absolute, http or https
	Secret []byte // signs the requests
	// Dial connects to the backend; nil is that of package net.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Roots are the certificate authorities of https; nil are the system's.
	Roots *x509.CertPool
	// Log gets what the operator has to mend, at most a line every 10 seconds.
	Log *slog.Logger
}

// Hook calls one backend. Make one with [New]; [Hook.Close] ends it.
type Hook struct {
	url    string
	secret atomic.Pointer[[]byte]
	client *http.Client
	log    *slog.Logger
	asking chan struct{}
	pauses []time.Duration

	ctx    context.Context // ends with the wish to tell anything
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	queue  chan Event // closed under mu
	closed bool

	failed, dropped atomic.Uint64
	failedLine      rate.Sometimes
	droppedLine     rate.Sometimes
}

// New starts the goroutines that tell.
func New(c Config) *Hook {
	h := &Hook{
		url: c.URL,
		client: &http.Client{
			Transport: &http.Transport{
				DialContext: c.Dial, TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
				MaxConnsPerHost: maxAsking + tellers, MaxIdleConnsPerHost: tellers, IdleConnTimeout: 30 * time.Second,
				MaxResponseHeaderBytes: maxAnswer,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log:         cmp.Or(c.Log, slog.New(slog.DiscardHandler)),
		asking:      make(chan struct{}, maxAsking),
		pauses:      pauses[:],
		queue:       make(chan Event, queueLen),
		failedLine:  rate.Sometimes{Interval: logEvery},
		droppedLine: rate.Sometimes{Interval: logEvery},
	}
	h.SetSecret(c.Secret)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	for range tellers {
		h.wg.Go(func() {
			for e := range h.queue {
				h.tell(e)
			}
		})
	}
	return h
}

// SetSecret replaces the secret that signs, at any time.
func (h *Hook) SetSecret(secret []byte) { h.secret.Store(&secret) }

// Ask asks whether a peer may join. It waits 3 seconds at most. An error is the
// backend's failure to answer, which has been logged.
func (h *Hook) Ask(ctx context.Context, e Event) (allow bool, reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != context.Canceled {
			n := h.failed.Add(1)
			h.failedLine.Do(func() {
				h.log.Error("TURNKEY_WEBHOOK_URL did not say whether a peer may join", "failures", n, "error", err)
			})
		}
	}()
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	case <-ctx.Done():
		return false, "", fmt.Errorf("%d questions are under way: %w", maxAsking, ctx.Err())
	}
	e.Event = "join"
	body, err := h.post(ctx, e)
	if err != nil {
		return false, "", err
	}
	var answer struct {
		Allow  *bool  `json:"allow"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Allow == nil {
		return false, "", fmt.Errorf(`the answer is not {"allow":true} or {"allow":false,"reason":"..."}: %.80q`, body)
	}
	return *answer.Allow, strings.ToValidUTF8(answer.Reason[:min(len(answer.Reason), maxReason)], ""), nil
}

// Tell queues that a peer has left. It never waits: what does not fit is dropped.
func (h *Hook) Tell(e Event) {
	e.Event = "leave"
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		select {
		case h.queue <- e:
			return
		default:
		}
	}
	h.drop(fmt.Errorf("%d wait already, or the server stops", queueLen))
}

// tell makes a few attempts.
func (h *Hook) tell(e Event) {
	for i := 0; ; i++ {
		ctx, cancel := context.WithTimeout(h.ctx, callTimeout)
		_, err := h.post(ctx, e)
		cancel()
		if err == nil {
			return
		}
		if i == len(h.pauses) || h.ctx.Err() != nil {
			h.drop(err)
			return
		}
		select {
		case <-time.After(h.pauses[i]):
		case <-h.ctx.Done():
		}
	}
}

func (h *Hook) drop(err error) {
	n := h.dropped.Add(1)
	h.droppedLine.Do(func() {
		h.log.Error("TURNKEY_WEBHOOK_URL was not told that a peer has left", "dropped", n, "error", err)
	})
}

// post returns the body of an answer with a status of 2xx.
func (h *Hook) post(ctx context.Context, e Event) ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "turnkey")
	req.Header.Set("Idempotency-Key", e.Event+"-"+e.Peer) // the library may try again where a connection had just ended
	req.Header.Set(HeaderTimestamp, at)
	req.Header.Set(HeaderSignature, Sign(*h.secret.Load(), at, body))
	res, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case res.StatusCode/100 != 2:
		return nil, fmt.Errorf("it answered %s", res.Status)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return answer, nil
}

// Sign is the value of [HeaderSignature].
func Sign(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// Close lets what waits be told until ctx ends, drops the rest, and waits until
// nothing of the hook is left. Nothing more is told after it.
func (h *Hook) Close(ctx context.Context) {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.queue)
	}
	h.mu.Unlock()
	stop := context.AfterFunc(ctx, h.cancel)
	h.wg.Wait()
	stop()
	h.cancel()
	h.client.CloseIdleConnections()
}
