package signal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Times of a client.
const (
	helloTimeout  = 10 * time.Second // for a socket to be opened and answered
	silentTimeout = 60 * time.Second // without a word or a ping of the server
	firstPause    = 250 * time.Millisecond
	longestPause  = 15 * time.Second
	eventBacklog  = 256
	hellos        = 3 // on as many sockets, if none is answered
)

var errUnanswered = errors.New("the socket was lost before the server answered")

// ClientOptions say how to enter a room. The zero value is fit for use.
type ClientOptions struct {
	Token string // an API key or a token, where the server wants one
	Name  string // shown to the others, at most 64 characters
	Meta  any    // shown to the others: nil, or an object of at most 1024 bytes as JSON
	// NoRollback says that the WebRTC stack cannot take back its offer when another
	// crosses it, as pion cannot: then none is passed on to it.
	NoRollback bool
	// HTTP makes the connections; nil is http.DefaultClient. Its Timeout has to be 0.
	HTTP *http.Client
}

// Client is a peer in a room. It resumes by itself when its socket is lost, for
// as long as its context lives; no message is lost by that and none comes twice.
type Client struct {
	url    string
	join   map[string]any
	http   *http.Client
	events chan Event
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	link   *link
	ws     *clientSocket // nil while there is none that is in the room
	out    chan struct{} // has a value while there is something to write
	todo   [][]byte
	bye    bool
	jitter time.Duration // the server goes away, and wants its clients back spread over this
	err    error         // why it ended
}

// Enter joins a room of the server whose signaling endpoint is url, such as
// wss://turn.example.org/v1/ws, and returns when it is in; the first event is
// the welcome. Until [Client.Close] or the end of ctx it stays in. The error is
// an [*Error] if the server refused.
func Enter(ctx context.Context, url, room string, o ClientOptions) (*Client, error) {
	run, cancel := context.WithCancel(ctx)
	c := &Client{
		url: url, http: o.HTTP, cancel: cancel, link: newLink(),
		events: make(chan Event, eventBacklog), done: make(chan struct{}), out: make(chan struct{}, 1),
		join: map[string]any{"type": Join, "room": room, "resume": true},
	}
	for name, v := range map[string]any{"name": o.Name, "token": o.Token, "meta": o.Meta} {
		if v != nil && v != "" {
			c.join[name] = v
		}
	}
	if o.NoRollback {
		c.join["rollback"] = false
	}
	ws, err := c.open(run)
	for n := 1; n < hellos && errors.Is(err, errUnanswered); n++ { // it may have let us in
		select {
		case <-time.After(c.pause(n)):
			ws, err = c.open(run)
		case <-run.Done():
			err = context.Cause(run)
		}
	}
	if err != nil {
		cancel()
		return nil, err
	}
	go c.run(run, ws)
	return c, nil
}

// Events are the messages of the server, in order. The channel is closed when
// the client has left for good; then Err says why. It has to be read: who lets
// 256 wait no longer receives, until the server ends the session.
func (c *Client) Events() <-chan Event { return c.events }

// Err returns why the client is no longer in the room: nil after Close. It is of
// use when Events is closed.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Send sends a message to a peer and returns its number, which an error that
// answers it has as Re. The members are those of docs/protocol.md for the type,
// such as "sdp" of an offer. It does not wait for the server: what is sent while
// the socket is lost goes out on the next. The error is about the message itself,
// or says that too many wait.
//
// If the session cannot be resumed, as after a restart of the server, there is
// another welcome, with a new id. A [Note] that the server has not handled goes out
// then. Of one of which that is not known an error event tells before the welcome,
// not_delivered; all else was about connections that have to be made anew.
func (c *Client) Send(kind Type, peer string, members map[string]any) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, err := c.link.request(kind, peer, members)
	if err != nil {
		return 0, err
	}
	for _, member := range []string{"name", "meta"} {
		if v, ok := members[member]; ok && kind == Update {
			c.join[member] = v
		}
	}
	if c.ws != nil {
		c.link.wrote()
		c.write(r.frame)
	}
	return r.id, nil
}

// Close leaves the room and waits until nothing of the client is left. What was
// sent before is written first, for two seconds at most.
func (c *Client) Close() error {
	c.mu.Lock()
	c.bye = true
	if c.ws != nil {
		c.write(encode(map[string]any{"type": Bye}))
		time.AfterFunc(closeGrace, c.cancel)
	} else {
		c.cancel()
	}
	c.mu.Unlock()
	for range c.events { // so that nobody waits for it to be read
	}
	<-c.done
	return c.Err()
}

// write queues frames for the writer. The caller holds c.mu.
func (c *Client) write(frames ...[]byte) {
	c.todo = append(c.todo, frames...)
	select {
	case c.out <- struct{}{}:
	default:
	}
}

// run keeps the client in the room.
func (c *Client) run(ctx context.Context, ws *clientSocket) {
	defer close(c.done)
	defer close(c.events)
	defer c.cancel()
	for attempt := 0; ; {
		if ws != nil {
			attempt = 0
			c.serve(ctx, ws)
		}
		if c.over(ctx) {
			return
		}
		attempt++
		select {
		case <-time.After(c.pause(attempt)):
		case <-ctx.Done():
		}
		var err error
		if ws, err = c.open(ctx); err != nil {
			ws = nil
			c.refused(err)
		}
	}
}

// pause is how long to wait before an attempt to come back.
func (c *Client) pause(attempt int) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jitter > 0 {
		defer func() { c.jitter = 0 }()
		return rand.N(min(c.jitter, time.Minute))
	}
	p := min(longestPause, firstPause<<min(attempt-1, 6))
	return p/2 + rand.N(p/2)
}

// over reports whether the client has left for good, and keeps why.
func (c *Client) over(ctx context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && ctx.Err() != nil && !c.bye {
		c.err = context.Cause(ctx)
	}
	return c.err != nil || c.bye
}

// refused keeps an error that trying again will not mend.
func (c *Client) refused(err error) {
	var e *Error
	if !errors.As(err, &e) || e.status == 0 {
		return
	}
	switch e.Code {
	case "room_full", "server_full", "draining", "internal", "webhook_failed", "join_timeout", "rate_limited", "slow_consumer":
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// open connects, and resumes or joins.
func (c *Client) open(run context.Context) (*clientSocket, error) {
	ctx, cancel := context.WithTimeout(run, helloTimeout)
	defer cancel()
	ws := new(clientSocket)
	var err error
	ws.Conn, _, err = websocket.Dial(ctx, c.url, &websocket.DialOptions{
		Subprotocols: []string{subprotocol}, HTTPClient: c.http,
		OnPingReceived: func(context.Context, []byte) bool { ws.alive.Reset(silentTimeout); return true },
	})
	if err != nil {
		return nil, fmt.Errorf("signal: connect to %s: %w", c.url, err)
	}
	ws.alive = time.AfterFunc(silentTimeout, func() { _ = ws.CloseNow() })
	ws.SetReadLimit(2 * queueBytes)
	for {
		c.mu.Lock()
		hello := c.link.greeting(c.join)
		c.mu.Unlock()
		e, err := exchange(ctx, ws, hello)
		if err == nil && e.Code == "resume_expired" {
			c.mu.Lock()
			c.link.expired(e.lastID)
			c.mu.Unlock()
			continue
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", errUnanswered, err)
		}
		if err == nil && e.Type == "error" {
			refusal := &Error{Code: e.Code, Message: e.Message, Hint: e.Hint}
			if e.Fatal {
				refusal.status = closeDenied
			}
			err = refusal
		}
		if err != nil {
			ws.cut()
			return nil, fmt.Errorf("signal: enter room %v at %s: %w", c.join["room"], c.url, err)
		}
		c.begin(run, ws, e)
		return ws, nil
	}
}

// tell hands an event to the reader of Events, and reports whether it was taken.
func (c *Client) tell(ctx context.Context, e Event) bool {
	select {
	case c.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// begin makes ws the socket of the session. What is held goes out first, and what
// may not have arrived of the session before is told of.
func (c *Client) begin(ctx context.Context, ws *clientSocket, e Event) {
	c.mu.Lock()
	_, send, _ := c.link.take(e) // fails for numbered messages alone
	c.ws, c.todo = ws, nil
	c.write(send...)
	lost := c.link.lost
	c.link.lost = nil
	c.mu.Unlock()
	for _, r := range lost {
		if e, err := parseEvent(errPerhapsNot(r.peer).answering(r.id).frame()); err == nil {
			c.tell(ctx, e)
		}
	}
	c.tell(ctx, e)
}
