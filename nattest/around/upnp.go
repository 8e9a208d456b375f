package around

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// upnp looks for an Internet Gateway Device on the gateway and asks it for its
// external address. It opens no port. Nothing but the gateway is contacted,
// whatever an answer says.
func (c *Config) upnp(ctx context.Context, local, gateway netip.Addr) Protocol {
	p := Protocol{State: Unknown, Mapping: NotTested}
	if c.Multicast == nil {
		p.State, p.Why = NotTested, notHere
		return p
	}
	at, server, err := c.search(ctx, local, gateway)
	if err != nil {
		p.Why = err.Error()
		return p
	}
	p.Server = server
	ctx, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel()
	client := c.only(ctx, gateway)
	status, body, err := fetch(ctx, client, http.MethodGet, at, "", "")
	if err != nil {
		p.Why = "its description cannot be read: " + clean(err.Error())
		return p
	}
	if status != http.StatusOK {
		p.Why = fmt.Sprintf("its description answers HTTP %d", status)
		return p
	}
	s, err := parseDescription(body, at, gateway)
	if err != nil {
		p.Why = "its description: " + clean(err.Error())
		return p
	}
	if s.name != "" {
		p.Server = s.name
	}
	status, body, err = fetch(ctx, client, http.MethodPost, s.control, s.kind, "GetExternalIPAddress")
	if err != nil {
		p.Why = "its service does not answer: " + clean(err.Error())
		return p
	}
	p.State, p.External, p.Why = parseExternal(status, body)
	return p
}

// search sends M-SEARCH to everybody and to the gateway (UPnP Device
// Architecture 1.1 section 1.3.2) and takes the first answer of the gateway.
func (c *Config) search(ctx context.Context, local, gateway netip.Addr) (at *url.URL, server string, err error) {
	conn, err := c.Multicast(ctx, local)
	if err != nil {
		return nil, "", fmt.Errorf("no socket for multicast: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	other := netip.Addr{}
	buf := make([]byte, 2048)
	for i, wait := range []time.Duration{firstWait, giveUp - firstWait} {
		conn.SetReadDeadline(time.Now().Add(wait))
		if ctx.Err() != nil {
			break
		}
		// One of the ways may lead nowhere.
		for _, what := range gatewayDevices {
			_, _ = conn.WriteTo(searchFor(what, everybody), net.UDPAddrFromAddrPort(everybody))
		}
		if i > 0 { // multicasts get lost, and a router sends few ICMP errors
			to := netip.AddrPortFrom(gateway, everybody.Port())
			_, _ = conn.WriteTo(searchFor(gatewayDevices[0], to), net.UDPAddrFromAddrPort(to))
		}
		for range 64 {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				break
			}
			if at, server, ok := parseSearch(buf[:n], gateway); !ok {
				continue
			} else if sender := addrPort(from).Addr(); sender != gateway {
				other = sender
			} else {
				return at, server, nil
			}
		}
	}
	if other.IsValid() {
		return nil, "", fmt.Errorf("no answer of the gateway, but one from %s", other)
	}
	return nil, "", errors.New("no answer")
}

// only is a client that connects to one address and follows nothing.
func (c *Config) only(ctx context.Context, gateway netip.Addr) *http.Client {
	dial := within(ctx, c.DialContext)
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, MaxResponseHeaderBytes: 8 << 10,
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				if to, err := netip.ParseAddrPort(addr); err != nil || to.Addr() != gateway {
					return nil, errors.New("that is not the gateway")
				}
				return dial(ctx, "tcp4", addr)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch gets a document, or calls an action of a service with SOAP.
func fetch(ctx context.Context, client *http.Client, method string, at *url.URL, service, action string) (int, []byte, error) {
	var envelope []byte
	if action != "" {
		envelope = soap(service, action)
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(envelope))
	if err != nil {
		return 0, nil, err
	}
	if action != "" {
		req.Header.Set("Content-Type", `text/xml; charset="utf-8"`)
		req.Header["SOAPAction"] = []string{`"` + service + "#" + action + `"`}
	}
	resp, err := client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}
