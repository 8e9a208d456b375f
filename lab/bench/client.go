//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v3"
)

// client is a TURN client over UDP that does just what is measured.
type client struct {
	*net.UDPConn
	username, nonce string
	key             stun.MessageIntegrity
	buf             [1600]byte
}

// lastPort is the port of the last client. None is used twice soon: a server may
// remember a five-tuple for a while after its allocation has ended.
var lastPort atomic.Uint32

func dial(s *server) (*client, error) {
	to, err := net.ResolveUDPAddr("udp4", serverAddr)
	if err != nil {
		return nil, err
	}
	const first, ports = 2000, 60000
	from := net.UDPAddr{IP: net.ParseIP(clientIP), Port: first + int(lastPort.Add(1)%ports)}
	conn, err := net.DialUDP("udp4", &from, to)
	if err != nil {
		return nil, err
	}
	username, password, err := s.secrets.Issue("bench", time.Now().Add(time.Hour))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &client{UDPConn: conn, username: username, key: stun.NewLongTermIntegrity(username, realm, password)}, nil
}

// ask sends a request and returns the response; it is repeated every wait.
func (c *client) ask(m *stun.Message, wait time.Duration) (*stun.Message, error) {
	for range 5 {
		if _, err := c.Write(m.Raw); err != nil {
			return nil, err
		}
		_ = c.SetReadDeadline(time.Now().Add(wait))
		for {
			n, err := c.Read(c.buf[:])
			if err != nil {
				break
			}
			r := &stun.Message{Raw: append([]byte(nil), c.buf[:n]...)}
			if r.Decode() == nil && r.TransactionID == m.TransactionID {
				return r, nil
			}
		}
	}
	return nil, errors.New("no answer")
}

var transport = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}

// challenge gets a nonce.
func (c *client) challenge(wait time.Duration) error {
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), transport)
	if err != nil {
		return err
	}
	r, err := c.ask(m, wait)
	if err != nil {
		return err
	}
	nonce, err := r.Get(stun.AttrNonce)
	c.nonce = string(nonce)
	return err
}

// call sends a request with credentials.
func (c *client) call(method stun.Method, setters ...stun.Setter) (*stun.Message, error) {
	setters = append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, setters...)
	setters = append(setters, stun.NewUsername(c.username), stun.NewRealm(realm), stun.NewNonce(c.nonce), c.key)
	m, err := stun.Build(setters...)
	if err != nil {
		return nil, err
	}
	r, err := c.ask(m, time.Second)
	if err != nil {
		return nil, err
	}
	if r.Type.Class != stun.ClassSuccessResponse {
		var code stun.ErrorCodeAttribute
		_ = code.GetFrom(r)
		return nil, fmt.Errorf("%v: %v", method, code)
	}
	return r, nil
}

func (c *client) allocate() error {
	if err := c.challenge(time.Second); err != nil {
		return err
	}
	_, err := c.call(stun.MethodAllocate, transport)
	return err
}

func (c *client) release() error {
	_, err := c.call(stun.MethodRefresh, stun.RawAttribute{Type: stun.AttrLifetime, Value: []byte{0, 0, 0, 0}})
	return err
}

const channel = 0x4000

// peerAddr is an XOR-PEER-ADDRESS.
type peerAddr net.UDPAddr

func (p *peerAddr) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: p.IP, Port: p.Port}.AddToAs(m, stun.AttrXORPeerAddress)
}

func (c *client) bind(to net.Addr) error {
	number := stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{channel >> 8, channel & 0xFF, 0, 0}}
	_, err := c.call(stun.MethodChannelBind, number, (*peerAddr)(to.(*net.UDPAddr)))
	return err
}

// data makes ChannelData of size bytes.
func data(size int) []byte {
	b := make([]byte, 4+size)
	binary.BigEndian.PutUint16(b, channel)
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	return b
}
