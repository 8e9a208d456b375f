package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"turnkey/configs"
	"turnkey/docs"
	"turnkey/nattest/visitor"
	"turnkey/signal"
	"turnkey/signal/client"
	"turnkey/signal/lint"
	"turnkey/signal/webhook"
	"turnkey/stunsrv"
	"turnkey/turnsrv"
	"turnkey/turnsrv/cred"
	"turnkey/turnsrv/front"
	"turnkey/web"
	"turnkey/web/certs"
)

// Limits of the HTTP server. WebSockets have their own.
const (
	httpHeaderTimeout = 10 * time.Second
	httpTimeout       = 30 * time.Second
	httpIdleTimeout   = time.Minute
	httpMaxHeader     = 16 << 10
)

// unauthBurst is how many seconds' worth of TURNKEY_UNAUTH_RATE may come at once.
const unauthBurst = 10

// serve runs the server until the context is done, then drains it.
func serve(c *call) error {
	var check, asJSON bool
	if _, err := c.flags("serve", 0, func(f *flag.FlagSet) {
		f.BoolVar(&check, "check", false, "only check the configuration")
		jsonFlag(f, &asJSON)
	}); err != nil {
		return err
	}
	cfg, err := configs.Load(c.environ)
	if err != nil {
		return err
	}
	if check {
		return checkConfig(cfg, c.stderr)
	}
	s, err := start(cfg, newLog(cfg, c.stderr))
	if err != nil {
		return err
	}
	if err := s.announce(c.stdout, asJSON); err != nil {
		return errors.Join(err, s.stop(context.Background()))
	}
	return s.run(c.ctx)
}

func newLog(cfg configs.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == configs.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// server is everything that runs.
type server struct {
	cfg     configs.Config
	log     *slog.Logger
	around  *surroundings
	sockets *sockets
	buffers *buffers
	cert    *certs.Files // nil = no TLS
	secrets atomic.Pointer[cred.Secrets]
	secret  secret // where the first of secrets came from
	apiKey  secret

	peers   *turnsrv.Peers
	limit   *stunsrv.Limiter // of unauthenticated responses, STUN and TURN together
	tokens  *stunsrv.Tokens  // of NAT probes
	stun    *stunPlaces
	visitor *visitor.Server // the NAT test in a page
	doctor  *callDoctor
	turn    *turnsrv.Server
	signal  *signal.Server
	webhook *webhook.Hook // nil = nobody is asked
	access  *web.Access
	keys    *web.Keys // of TURNKEY_JWT_KEYS, after the start of followSecrets alone
	http    *http.Server
	ready   atomic.Bool
	tested  tested
	retest  chan struct{} // asks for a self test

	failed chan error // a part that ended by itself
	wg     sync.WaitGroup
}

// start binds every socket and begins to serve. If it fails, nothing is left open.
func start(cfg configs.Config, log *slog.Logger) (*server, error) {
	s := &server{cfg: cfg, log: log, failed: make(chan error, 1), buffers: &buffers{log: log}, retest: make(chan struct{}, 1)}
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	s.access = &web.Access{
		Mode: cfg.Auth, Key: s.apiKey.values[0], Origins: cfg.Origins,
		TrustedProxies: cfg.TrustedProxies, Gateways: gateways(),
	}
	if err := s.readKeys(); err != nil {
		return nil, err
	}
	var err error
	if s.sockets, err = openSockets(cfg, s.around.listen, s.cert, s.limit, s.buffers, log); err != nil {
		return nil, err
	}
	s.stun = newSTUNPlaces(slices.Concat(s.sockets.turnUDP, s.sockets.stunUDP), [2]uint16{cfg.Port, cfg.AltPort})
	s.stun.publish(s.around.alternates())
	s.checkFiles(fileLimit())
	if err = s.tryRelays(); err != nil {
		s.sockets.close()
		return nil, err
	}
	s.visitor = s.newVisitor()
	if s.turn, err = turnsrv.New(s.turnConfig()); err != nil {
		s.sockets.close()
		return nil, err
	}
	for _, conn := range s.sockets.stunUDP {
		s.part("STUN on "+conn.LocalAddr().String(), func() error { return stunsrv.Serve(conn, s.stunConfig(conn)) })
	}
	s.http = &http.Server{
		Handler: front.Handler(s.handler()), ConnContext: front.ConnContext,
		ReadHeaderTimeout: httpHeaderTimeout, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout,
		IdleTimeout: httpIdleTimeout, MaxHeaderBytes: httpMaxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.part("HTTP on "+cfg.HTTP, func() error { return s.http.Serve(s.sockets.http) })
	if s.sockets.https != nil {
		s.part("HTTPS on "+cfg.HTTPS, func() error { return s.http.Serve(s.sockets.https) })
	}
	s.ready.Store(true)
	return s, nil
}

// prepare does what needs no socket.
func (s *server) prepare() (err error) {
	if s.around, err = survey(s.cfg); err != nil {
		return err
	}
	if s.secret, err = needSecret(s.cfg.Secrets, s.cfg.StateDir, secretFile); err != nil {
		return err
	}
	if s.apiKey, err = needSecret(apiKeySet(s.cfg), s.cfg.StateDir, apiKeyFile); err != nil {
		return err
	}
	if s.cert, err = openCertificate(s.cfg, s.log); err != nil {
		return err
	}
	s.checkCertificate()
	secrets, err := cred.NewSecrets(s.secret.values...)
	if err != nil {
		return fmt.Errorf("use TURNKEY_SECRET: %w", err)
	}
	s.secrets.Store(secrets)
	if s.secret.random {
		s.log.Info("no TURNKEY_SECRET and no TURNKEY_STATE_DIR: using a random secret; credentials end with this process")
	}
	s.peers = &turnsrv.Peers{Deny: s.cfg.DenyPeers, Relays: turnsrv.PortRange(s.cfg.RelayPorts)}
	for _, r := range s.cfg.AllowPeers {
		s.peers.Allow = append(s.peers.Allow, turnsrv.PeerRule{Prefix: r.Prefix, Ports: turnsrv.PortRange(r.Ports)})
	}
	s.peers.SetOwn(s.around.ownAddrs())
	if p := s.around.public(); p.hint != "" {
		s.warnOfPrivate(p)
	}
	s.limit = stunsrv.NewLimiter(s.cfg.UnauthRate, unauthBurst*s.cfg.UnauthRate)
	s.tokens = stunsrv.NewTokens(tokenLife)
	s.doctor = s.newCallDoctor()
	return nil
}

func (s *server) ice(label string, ttl time.Duration, quota web.Quota) (web.Session, error) {
	return iceSession(s.secrets.Load(), s.cfg, s.around.host(), label, ttl, quota)
}

func (s *server) handler() http.Handler {
	s.webhook = s.newWebhook()
	s.signal = s.signaling()
	return web.New(web.Config{
		Access:    s.access,
		ICE:       s.ice,
		TTL:       s.cfg.CredentialTTL,
		Status:    s.status,
		Ready:     s.ready.Load,
		Docs:      docs.Files,
		Operation: s.operation(),
		Rooms:     s.rooms(),
		Routes: map[string]http.Handler{
			"GET /v1/ws":        s.signal,
			"GET /turnkey.js":   client.Handler(),
			"GET /turnkey.d.ts": client.Types(),
			"GET /nattest.json": http.HandlerFunc(s.probeDocument),
			"POST /v1/nat/":     s.visitor, // below the id of a test that has begun
		},
		Limited: map[string]http.Handler{
			"POST /v1/lint": lint.Handler(),
			"POST /v1/nat":  s.visitor,

			"GET /v1/rooms/{room}/doctor": http.HandlerFunc(s.diagnose),
		},
		Log: s.log,
	})
}

// part runs f until it returns; unless the server is stopping, that is a failure.
func (s *server) part(what string, f func() error) {
	s.wg.Go(func() {
		err := f()
		if errors.Is(err, http.ErrServerClosed) || err == nil && !s.ready.Load() {
			return
		}
		select {
		case s.failed <- fmt.Errorf("serve %s: %w", what, err):
		default:
		}
	})
}

// run waits until ctx is done or a part fails, and stops the server.
func (s *server) run(ctx context.Context) error {
	follow, unfollow := context.WithCancel(ctx)
	defer unfollow()
	if find := s.finder(); find != nil {
		s.wg.Go(func() { s.around.follow(follow, find, s.moved, s.unfound) })
	}
	if files := s.secretFiles(); len(files) > 0 {
		s.wg.Go(func() { followSecrets(follow, files, s.log) })
	}
	s.wg.Go(func() { every(follow, s.retest, s.testSelf) })
	if s.cert != nil {
		s.wg.Go(func() { s.cert.Watch(follow) })
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-s.failed:
	}
	unfollow() // stop waits for what follows
	n := len(s.turn.Sessions())
	s.log.Info("stopping: no new connections; a second signal ends the process at once", "sessions", n, "drainTimeout", s.cfg.DrainTimeout)
	drain, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	return errors.Join(failure, s.stop(drain))
}

// stop drains the server until ctx is done, then closes what is left and waits
// for every part. Sessions that the deadline cuts off are no failure.
func (s *server) stop(ctx context.Context) error {
	s.ready.Store(false)
	s.visitor.Close()
	down := make(chan error, 1)
	go func() {
		err := s.signal.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil // it has cut them
		}
		if s.webhook != nil {
			s.webhook.Close(ctx)
		}
		down <- err
	}()
	err := s.turn.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("sessions were still running when TURNKEY_DRAIN_TIMEOUT was over", "drainTimeout", s.cfg.DrainTimeout)
		err = nil
	}
	err = errors.Join(err, <-down)
	if s.http.Shutdown(ctx) != nil { // last: GET /readyz and /v1/sessions tell how the draining goes
		err = errors.Join(err, s.http.Close())
	}
	s.sockets.close()
	s.wg.Wait()
	if err == nil {
		s.log.Info("stopped")
	}
	return err
}
