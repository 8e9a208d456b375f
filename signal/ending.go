package signal

import (
	"errors"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
)

// ending is why and how a socket ends.
type ending struct {
	why    reason
	status websocket.StatusCode
	text   string // reason in the close frame
	err    *Error // told before, or nil

	mayReturn bool // the socket was lost, and its session may go on with another
}

// failure ends a socket with an error, whose status it takes.
func failure(why reason, err *Error) ending {
	return ending{why: why, status: err.status, text: err.Code, err: err}
}

func slow() ending { return failure(leftSlow, errSlow().closing(closeSlow)) }

// lost is the end of a socket that nobody has closed.
func lost(e ending) ending {
	e.mayReturn = true
	return e
}

// broken is the status for who broke the rules of RFC 6455, or nothing but the
// connection.
func broken(err error) websocket.StatusCode {
	if rule := ws.ProtocolError(""); errors.As(err, &rule) {
		return websocket.StatusProtocolError
	}
	return websocket.StatusNormalClosure
}

// closing answers a close frame with its own status (RFC 6455 section 5.5.1).
func closing(body []byte) ending {
	status := websocket.StatusNoStatusRcvd
	if len(body) > 0 {
		code, text := ws.ParseCloseFrameData(body)
		if ws.CheckCloseFrameData(code, text) != nil {
			code = ws.StatusProtocolError
		}
		status = websocket.StatusCode(code)
	}
	return ending{why: leftClosed, status: status, mayReturn: !meant(status)}
}

// meant says whether a client that sent this close status has left for good: it
// called close, or the page was closed. No status at all is a broken connection.
func meant(status websocket.StatusCode) bool {
	switch status {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return true
	}
	return false
}
