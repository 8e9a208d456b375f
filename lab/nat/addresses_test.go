package nat

// Addresses of the lab. They are documentation addresses, which no relay may
// reach unless TURNKEY_ALLOW_PEERS says so.
const (
	server   = "203.0.113.10"
	server2  = "203.0.113.11" // of the same machine
	server6  = "2001:db8::10"
	server62 = "2001:db8::11" // of the same machine
	single   = "203.0.113.20" // of another machine, which has no second address
	legacy   = "203.0.113.21" // of a third one, whose STUN is that of RFC 5389
	homeIP   = "192.168.1.2"  // of a client behind a NAT
	api      = server + ":8080"
	both     = "turn.lab:8080" // server and server2
	alone    = single + ":8080"
	old      = legacy + ":8080" // speaks STUN and no more
)
