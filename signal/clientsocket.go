package signal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

// clientSocket is a socket that is cut when the server falls silent.
type clientSocket struct {
	*websocket.Conn
	alive *time.Timer
}

func (s *clientSocket) cut() {
	s.alive.Stop()
	_ = s.CloseNow() // nothing is left to be said
}

// exchange writes one message and reads one.
func exchange(ctx context.Context, ws *clientSocket, frame []byte) (e Event, err error) {
	if err := ws.Write(ctx, websocket.MessageText, frame); err != nil {
		return e, err
	}
	_, b, err := ws.Read(ctx)
	if err != nil {
		return e, err
	}
	return parseEvent(b)
}

// serve reads and writes until the socket is lost.
func (c *Client) serve(ctx context.Context, ws *clientSocket) {
	ended := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { c.writeAll(ctx, ws, ended) })
	c.readAll(ctx, ws)
	c.mu.Lock()
	c.ws = nil
	c.mu.Unlock()
	close(ended)
	ws.cut()
	writer.Wait()
}

func (c *Client) readAll(ctx context.Context, ws *clientSocket) {
	for {
		_, b, err := ws.Read(ctx)
		if err != nil {
			c.closed(websocket.CloseStatus(err))
			return
		}
		ws.alive.Reset(silentTimeout)
		e, err := parseEvent(b)
		if err != nil {
			return // it is no server of this protocol
		}
		c.mu.Lock()
		fresh, send, err := c.link.take(e)
		c.write(send...)
		if e.Type == "goaway" {
			c.jitter = time.Duration(e.goawayJitter) * time.Second
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
		if !fresh {
			continue
		}
		if !c.tell(ctx, e) {
			return
		}
	}
}

// closed takes note of a close that is for good.
func (c *Client) closed(status websocket.StatusCode) {
	if status != closeReplaced && status != closeDenied {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = fmt.Errorf("signal: the server closed the socket with %d; docs/protocol.md says why", status)
}

// writeAll writes what is queued, a little slower than the server lets it.
func (c *Client) writeAll(ctx context.Context, ws *clientSocket, ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pace := rate.NewLimiter(messageRate*3/4, messageBurst*3/4)
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		select {
		case <-c.out:
		case <-ended:
			return
		}
		for {
			c.mu.Lock()
			todo := c.todo
			c.todo = nil
			c.mu.Unlock()
			if len(todo) == 0 {
				break
			}
			for _, frame := range todo {
				if pace.Wait(ctx) != nil {
					return // what is held goes out on the next socket
				}
				bounded, cancel := context.WithTimeout(ctx, writeTimeout)
				err := ws.Write(bounded, websocket.MessageText, frame)
				cancel()
				if err != nil {
					_ = ws.CloseNow() // which ends the reader
					return
				}
			}
		}
	}
}
