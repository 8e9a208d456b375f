// Package configs holds everything that an operator sets.
//
// Each setting is an environment variable that begins with TURNKEY_, each has a default or may stay
// unset, and an empty value counts as unset. [Load] turns an environment into a [Config] and reports
// every fault at once, by the name of the variable and with the fix. [Config.Settings] lists them all
// with their meaning, and example.env is the same list as a file to copy.
//
// Whoever adds a setting adds a field to [Config], runs "go generate ./configs", and adds a
// testdata/invalid-*.env for each value that it refuses.
package configs

import (
	"log/slog"
	"net/netip"
	"time"
)

//go:generate go test -run TestExampleFile -update .

// Prefix begins the name of every setting.
const Prefix = "TURNKEY_"

// The values of [Config.Auth]: who may have credentials.
const (
	AuthLocal = "local" // clients on loopback and private addresses
	AuthOpen  = "open"  // everybody
	AuthKey   = "key"   // whoever shows the API key or a token signed with it
)

// HTTPSOff is the value of [Config.HTTPS] that leaves it out in spite of a certificate.
const HTTPSOff = "off"

// The values of [Config.WebhookFail].
const (
	FailDeny  = "deny"
	FailAllow = "allow"
)

// The values of [Config.LogFormat].
const (
	LogText = "text"
	LogJSON = "json"
)

// Config is what the operator has set, checked and in its final form: names and origins in lower
// case, IPv4 addresses never in their IPv6 form. The doc tags are what the operator reads.
type Config struct {
	// What clients are told, and where the server listens.
	Host        string       `env:"HOST" doc:"Name or address that clients find in every URL, e.g. turn.example.com; unset: the name in TURNKEY_PUBLIC_IP=dns:NAME, else the public address."`
	PublicIP    PublicIP     `env:"PUBLIC_IP" envDefault:"auto" doc:"Address at which the internet reaches this machine: auto finds it out, an address such as 203.0.113.7 fixes it, dns:turn.example.com looks that name up."`
	STUNServers []string     `env:"STUN_SERVERS" doc:"STUN servers of others to ask for the public address if no interface has one and TURNKEY_PUBLIC_IP is auto, as host:port separated by commas; the first counts, the next confirm it; unset: nobody is asked."`
	AltIP       AltIP        `env:"ALT_IP" doc:"Second address at which the internet reaches this machine, so that clients can find out all about their NAT (RFC 5780): 203.0.113.8, or behind a 1:1 NAT with the address of this machine that it leads to, 203.0.113.8/10.0.0.8; unset: the second public address of an interface, or the second of TURNKEY_LISTEN."`
	Listen      []netip.Addr `env:"LISTEN" doc:"Addresses of this machine to serve STUN and TURN on, separated by commas; unset: each global and each loopback address."`
	Port        uint16       `env:"PORT" envDefault:"3478" doc:"Port for STUN and TURN, over UDP and TCP, 1 to 65535."`
	AltPort     uint16       `env:"ALT_PORT" envDefault:"3479" doc:"Second STUN port, by which clients learn how their NAT behaves, 1 to 65535 and not TURNKEY_PORT."`
	HTTP        string       `env:"HTTP" envDefault:":8080" doc:"Where the web pages and the API are served, as host:port; without a host, on every address."`
	RelayPorts  PortRange    `env:"RELAY_PORTS" envDefault:"49160-49359" doc:"UDP ports that relay the media, first-last, within 1024 to 65535; each relayed connection takes one, so open them all in the firewall."`

	// TLS, which begins with a certificate.
	TLSCert string `env:"TLS_CERT" doc:"File with the TLS certificate of TURNKEY_HOST and the chain behind it (PEM), read again when it changes; it switches on TURN over TLS and DTLS, and HTTPS."`
	TLSKey  string `env:"TLS_KEY" doc:"File with the private key of TURNKEY_TLS_CERT (PEM); set both or none."`
	TLSPort uint16 `env:"TLS_PORT" envDefault:"5349" doc:"Port for TURN over TLS (TCP) and over DTLS (UDP) once there is a certificate, 1 to 65535."`
	HTTPS   string `env:"HTTPS" doc:"Where HTTPS, secure WebSockets and TURN over TLS share one port, as host:port, or off; unset: :443 once there is a certificate."`

	// Who may use it.
	Realm         string        `env:"REALM" envDefault:"turnkey" doc:"Name of the realm that TURN shows to clients, 1 to 64 printable ASCII characters without quotes and backslashes."`
	Secrets       []string      `env:"SECRET" secret:"true" doc:"Secret that signs TURN credentials, at least 16 bytes; several separated by commas: the first signs, all are accepted; unset: a random one."`
	SecretFile    string        `env:"SECRET_FILE" doc:"File that holds what TURNKEY_SECRET would hold, read again when it changes and on SIGHUP; set only one of the two."`
	Users         []User        `env:"USERS" secret:"true" doc:"Users of TURN with a password that does not expire, for tools that cannot be given a fresh credential, as name:password separated by commas; a password has at least 8 characters."`
	CredentialTTL time.Duration `env:"CREDENTIAL_TTL" envDefault:"12h" doc:"How long a TURN credential can start new relays, 1m to 168h; running calls outlive it."`
	Auth          string        `env:"AUTH" envDefault:"local" doc:"Who may have credentials: local (clients on loopback and private addresses), key (whoever has the API key or a token), open (everybody: anyone can use your bandwidth)."`
	APIKey        string        `env:"API_KEY" secret:"true" doc:"Key that clients show with TURNKEY_AUTH=key and that signs tokens, at least 16 printable ASCII characters without spaces."`
	JWTKeys       string        `env:"JWT_KEYS" doc:"File with keys of others whose tokens are accepted, a JSON Web Key Set (Ed25519 public keys, or shared keys for HS256 of at least 32 bytes), read again when it changes and on SIGHUP."`
	APIKeyFile    string        `env:"API_KEY_FILE" doc:"File that holds what TURNKEY_API_KEY would hold, read again when it changes and on SIGHUP; set only one of the two."`

	// The web around it, and the peers behind it.
	Origins        []string       `env:"ORIGINS" doc:"Web sites whose pages may use the API from a browser, as https://app.example.com separated by commas, or * for all; unset: only the server's own pages."`
	TrustedProxies []netip.Prefix `env:"TRUSTED_PROXIES" doc:"Addresses or prefixes of proxies in front of this server, separated by commas; only they are believed when they say who the client is, by X-Forwarded-For or a PROXY header, so they must say it always."`
	AllowPeers     []PeerRule     `env:"ALLOW_PEERS" doc:"Addresses that relays may reach although they are denied by default (private networks, this machine), as prefix[:port[-port]] separated by commas, e.g. 10.0.0.5:5000-5999,[fd00::/8]:443."`
	DenyPeers      []netip.Prefix `env:"DENY_PEERS" doc:"Addresses or prefixes that relays may never reach, separated by commas; adds to the default list and wins over TURNKEY_ALLOW_PEERS."`

	// How much a client may take.
	MaxAllocations         int           `env:"MAX_ALLOCATIONS" envDefault:"0" doc:"Most TURN allocations at once; 0: as many as TURNKEY_RELAY_PORTS has ports."`
	MaxAllocationsPerUser  int           `env:"MAX_ALLOCATIONS_PER_USER" envDefault:"64" doc:"Most TURN allocations of one user, which is the label of its credential; 0: no limit."`
	MaxAllocationsPerIP    int           `env:"MAX_ALLOCATIONS_PER_IP" envDefault:"256" doc:"Most TURN allocations of one IPv4 address or one IPv6 /64 network; 0: no limit."`
	MaxPermissions         int           `env:"MAX_PERMISSIONS" envDefault:"64" doc:"Most peer addresses that one allocation may exchange packets with; 0: no limit."`
	MaxChannels            int           `env:"MAX_CHANNELS" envDefault:"64" doc:"Most channels of one allocation; 0: no limit."`
	MaxConnectionsPerIP    int           `env:"MAX_CONNECTIONS_PER_IP" envDefault:"64" doc:"Most TCP, TLS and DTLS connections to TURN of one IPv4 address or one IPv6 /64 network, and on each port of HTTP, besides TURNKEY_PEERS_PER_IP; 0: no limit."`
	MaxSession             time.Duration `env:"MAX_SESSION" envDefault:"24h" doc:"How long one allocation may live, however often it is refreshed, 1m to 8760h; 0: no limit."`
	Bandwidth              int64         `env:"BANDWIDTH" envDefault:"0" doc:"Most that is relayed in all, in bits a second in each direction, e.g. 100000000; 0: no limit."`
	BandwidthPerUser       int64         `env:"BANDWIDTH_PER_USER" envDefault:"0" doc:"Most that is relayed for one user, in bits a second in each direction; 0: no limit."`
	BandwidthPerAllocation int64         `env:"BANDWIDTH_PER_ALLOCATION" envDefault:"0" doc:"Most that is relayed by one allocation, in bits a second in each direction; 0: no limit."`
	UnauthRate             int           `env:"UNAUTH_RATE" envDefault:"20" doc:"STUN and TURN responses a second to one IPv4 address or IPv6 /64 network that has not shown a credential, with ten times as many at once, where one of more than 192 bytes counts as several and NAT probes with a token have a budget of their own; keeps the server from being used to flood others; 0: no limit."`

	// Signaling.
	RoomMax    int `env:"ROOM_MAX" envDefault:"8" doc:"Most peers in one room of the signaling server, 2 to 64."`
	RoomsMax   int `env:"ROOMS_MAX" envDefault:"10000" doc:"Most rooms at once, 1 to 1000000."`
	PeersPerIP int `env:"PEERS_PER_IP" envDefault:"64" doc:"Most signaling connections of one IPv4 address or one IPv6 /64 network, 1 to 100000."`

	WebhookURL        string `env:"WEBHOOK_URL" doc:"Where a backend is asked by POST whether a peer may join a room, and told when it has left, e.g. https://app.example.com/turnkey; unset: nobody is asked."`
	WebhookSecret     string `env:"WEBHOOK_SECRET" secret:"true" doc:"Secret that signs what is sent to TURNKEY_WEBHOOK_URL, at least 16 bytes; set both or none."`
	WebhookSecretFile string `env:"WEBHOOK_SECRET_FILE" doc:"File that holds what TURNKEY_WEBHOOK_SECRET would hold, read again when it changes and on SIGHUP; set only one of the two."`
	WebhookFail       string `env:"WEBHOOK_FAIL" envDefault:"deny" doc:"What becomes of a join when TURNKEY_WEBHOOK_URL does not answer within 3 seconds, or not as it should: deny or allow."`

	// Running it.
	DrainTimeout time.Duration  `env:"DRAIN_TIMEOUT" envDefault:"30s" doc:"How long a stopping server waits for running calls to end, 0 to 1h."`
	Alternate    netip.AddrPort `env:"ALTERNATE" doc:"Another TURN server, as address:port, to which clients are sent while this one stops; unset: they are refused."`
	LogLevel     slog.Level     `env:"LOG_LEVEL" envDefault:"info" doc:"Least severe messages to log: debug, info, warn or error."`
	LogFormat    string         `env:"LOG_FORMAT" envDefault:"text" doc:"Form of the log: text for people or json for programs."`
	StateDir     string         `env:"STATE_DIR" doc:"Existing directory in which a random secret outlives a restart; unset: the first of $STATE_DIRECTORY, which systemd sets, else nothing is kept."`

	// Warnings are dangers that do not keep the server from starting, one sentence each, to be logged.
	Warnings []string `env:"-"`

	set map[string]bool // names of the settings that the environment held
}
