package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"turnkey/configs"
	"turnkey/turnsrv/cred"
	"turnkey/web"
)

// askTimeout bounds the question to a running server.
const askTimeout = 5 * time.Second

// creds prints ICE servers with a fresh credential. With the secret at hand it
// signs itself; otherwise it asks the running server.
func creds(c *call) error {
	var asJSON bool
	var ttl time.Duration
	operands, err := c.flags("creds", 1, func(f *flag.FlagSet) {
		f.DurationVar(&ttl, "ttl", 0, "how long it can start new relays, e.g. 1h; default and longest is TURNKEY_CREDENTIAL_TTL")
		jsonFlag(f, &asJSON)
	})
	if err != nil {
		return err
	}
	label := ""
	if len(operands) > 0 {
		label = operands[0]
	}
	if !cred.ValidLabel(label) {
		return usageError{fmt.Errorf("label %.80q: %w", label, cred.ErrLabel)}
	}
	if ttl < 0 {
		return usageError{fmt.Errorf("-ttl %v is in the past", ttl)}
	}
	cfg, err := configs.Load(c.environ)
	if err != nil {
		return err
	}
	if ttl == 0 || ttl > cfg.CredentialTTL {
		ttl = cfg.CredentialTTL
	}
	s, err := c.session(cfg, label, ttl)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(c.stdout).Encode(s)
	}
	return c.printJSON(s)
}

func (c *call) session(cfg configs.Config, label string, ttl time.Duration) (web.Session, error) {
	var s web.Session
	kept, err := findSecret(cfg.Secrets, cfg.StateDir, secretFile)
	if err != nil {
		return s, err
	}
	if len(kept.values) == 0 {
		fmt.Fprintln(c.stderr, "no TURNKEY_SECRET and no TURNKEY_STATE_DIR here: asking the running server")
		q := url.Values{"label": {label}, "ttl": {strconv.Itoa(int(ttl / time.Second))}}
		return s, c.ask(cfg, http.MethodGet, "/v1/ice", q, &s)
	}
	secrets, err := cred.NewSecrets(kept.values...)
	if err != nil {
		return s, err
	}
	net, err := survey(cfg)
	if err != nil {
		return s, err
	}
	return iceSession(secrets, cfg, net.host(), label, ttl, web.Quota{})
}

// token prints a token that a client can show instead of the API key.
func token(c *call) error {
	var asJSON bool
	var room, subject, perm string
	var relayTTL time.Duration
	var allocations int
	var bandwidth int64
	ttl := time.Hour
	_, err := c.flags("token", 0, func(f *flag.FlagSet) {
		f.StringVar(&room, "room", "", "the only room it is good for; default every room")
		f.StringVar(&subject, "subject", "", "whom it is for")
		f.DurationVar(&ttl, "ttl", ttl, "how long it is good")
		f.StringVar(&perm, "perm", "", "what its holder may do, some of join,relay,list,kick,tell; default join,relay")
		f.DurationVar(&relayTTL, "relay-ttl", 0, "how long its TURN credentials last; default and longest is TURNKEY_CREDENTIAL_TTL")
		f.IntVar(&allocations, "allocations", 0, "most TURN allocations at once of all who use it; default and most is TURNKEY_MAX_ALLOCATIONS_PER_USER")
		f.Int64Var(&bandwidth, "bandwidth", 0, "most that they relay together, in bits a second in each direction; default and most is TURNKEY_BANDWIDTH_PER_USER")
		jsonFlag(f, &asJSON)
	})
	if err != nil {
		return err
	}
	rights, err := web.ParseRights(perm)
	if err != nil {
		return usageError{fmt.Errorf("-perm: %w", err)}
	}
	cfg, err := configs.Load(c.environ)
	if err != nil {
		return err
	}
	var t struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expiresAt"`
	}
	key, err := findSecret(apiKeySet(cfg), cfg.StateDir, apiKeyFile)
	if err != nil {
		return err
	}
	if len(key.values) > 0 {
		t.ExpiresAt = time.Now().Add(ttl).UTC().Truncate(time.Second)
		want := web.Token{Room: room, Subject: subject, Rights: rights, TTL: ttl, RelayTTL: relayTTL, Allocations: allocations, Bandwidth: bandwidth}
		if t.Token, err = want.Sign(key.values[0], time.Now()); err != nil {
			return usageError{err}
		}
	} else {
		fmt.Fprintln(c.stderr, "no TURNKEY_API_KEY and no TURNKEY_STATE_DIR here: asking the running server")
		q := url.Values{"room": {room}, "subject": {subject}, "perm": {perm}, "ttl": {strconv.Itoa(int(ttl / time.Second))}}
		if relayTTL != 0 {
			q.Set("relayTTL", strconv.Itoa(int(relayTTL/time.Second)))
		}
		if allocations != 0 {
			q.Set("allocations", strconv.Itoa(allocations))
		}
		if bandwidth != 0 {
			q.Set("bandwidth", strconv.FormatInt(bandwidth, 10))
		}
		if err := c.ask(cfg, http.MethodPost, "/v1/token", q, &t); err != nil {
			return err
		}
	}
	if asJSON {
		return c.printJSON(t)
	}
	fmt.Fprintf(c.stderr, "good until %s\n", t.ExpiresAt.Format(time.RFC3339))
	_, err = fmt.Fprintln(c.stdout, t.Token)
	return err
}

// ask asks the server that runs on this machine.
func (c *call) ask(cfg configs.Config, method, path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(c.ctx, askTimeout)
	defer cancel()
	at := localURL(cfg.HTTP)
	what := fmt.Sprintf("ask the server at %s", at)
	for name := range query {
		if query.Get(name) == "" {
			query.Del(name)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, at+path+"?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if cfg.APIKey != "" {
		req.Header.Set("Authorization", "Bearer "+cfg.APIKey)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w; start one with `turnkey serve`, or set TURNKEY_SECRET (creds) or TURNKEY_API_KEY (token) as it has them", what, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if res.StatusCode != http.StatusOK {
		var refusal struct {
			Error struct{ Message, Hint string }
		}
		if json.Unmarshal(body, &refusal) != nil || refusal.Error.Message == "" {
			return fmt.Errorf("%s: %s; is it turnkey? TURNKEY_HTTP says where it serves", what, res.Status)
		}
		if res.StatusCode == http.StatusUnauthorized {
			refusal.Error.Hint = "set TURNKEY_API_KEY here as the server has it"
		}
		return fmt.Errorf("%s: %s (%s)", what, refusal.Error.Message, refusal.Error.Hint)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w; is it turnkey? TURNKEY_HTTP says where it serves", what, err)
	}
	return nil
}

// localURL returns the URL at which this machine reaches what listens on
// hostport: loopback, unless it listens on another address only.
func localURL(hostport string) string {
	host, port, _ := net.SplitHostPort(hostport)
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
