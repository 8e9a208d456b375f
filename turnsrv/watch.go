package turnsrv

import "net/netip"

// Watch is told what becomes of the requests of users: a diagnosis can then say
// what the server saw. Its functions are called where packets are handled, so
// they must return at once. A nil function is not called.
type Watch struct {
	// Allocated gets every new session. Its traffic and peers are not set.
	Allocated func(Session)
	// Refused gets every request that was answered with an error, other than a
	// first challenge.
	Refused func(Refused)
}

// Refused is one refused request.
type Refused struct {
	Username  string // as sent: it is not authenticated where Code is 401
	Label     string // the label in it
	Client    netip.AddrPort
	Transport string // between client and server: udp, tcp, tls or dtls
	Method    string // as in "Allocate"
	Code      int    // of the error, RFC 8656 section 19
	Reason    string
	Rule      string     // the one of Peers that denies Denied; "" = that is not the reason
	Denied    netip.Addr // the peer that was to be reached
}
