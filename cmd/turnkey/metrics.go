package main

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"turnkey/turnsrv"
	"turnkey/web"
)

// exposition answers GET /metrics. Labels have few values, and none that a
// client chooses.
func (s *server) exposition() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		metrics{s},
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// metrics reads what the server counts whenever it is asked.
type metrics struct{ s *server }

var (
	descInfo        = desc("build_info", "The build that runs: 1.", "version", "go")
	descSessions    = desc("sessions", "Live TURN sessions.")
	descStarted     = desc("sessions_started_total", "TURN sessions that began.")
	descEnded       = desc("sessions_ended_total", "TURN sessions that ended.", "reason")
	descRefused     = desc("requests_refused_total", "TURN requests refused with an error; first challenges do not count.", "code")
	descUnanswered  = desc("requests_unanswered_total", "TURN requests without an answer because of TURNKEY_UNAUTH_RATE.")
	descConnections = desc("connections", "Open TCP, TLS and DTLS connections of TURN clients.")
	descPackets     = desc("relayed_packets_total", "Packets relayed.", "direction")
	descBytes       = desc("relayed_bytes_total", "Bytes of payload relayed.", "direction")
	descDropped     = desc("relay_dropped_packets_total", "Packets not relayed: to a denied peer, or beyond a bandwidth limit.", "reason")
	descFree        = desc("relay_ports_free", "Relay ports that are free.", "family")
	descPorts       = desc("relay_ports", "Relay ports in TURNKEY_RELAY_PORTS.")
	descDrops       = desc("listener_receive_drops_total", "Datagrams from clients that the kernel dropped because a buffer was full.")
	descRelayDrops  = desc("relay_receive_drops", "Datagrams from peers that the kernel dropped because a buffer was full, at the relays of now.")
	descCheck       = desc("check_state", "Checks of GET /readyz: 1 for the state that holds.", "check", "state")
	descNotAfter    = desc("certificate_not_after_seconds", "Unix time at which the TLS certificate ends.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("turnkey_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector: one without fixed descriptions.
func (m metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m metrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	b := thisBuild()
	gauge(descInfo, 1, b.Version, b.Go)
	v := m.s.turn.Stats()
	gauge(descSessions, float64(v.Sessions))
	counter(descStarted, v.Started)
	for _, reason := range ends() {
		counter(descEnded, v.Ended[reason], reason)
	}
	for code, n := range v.Refused {
		counter(descRefused, n, strconv.Itoa(code))
	}
	counter(descUnanswered, v.Unanswered)
	gauge(descConnections, float64(v.Connections))
	counter(descPackets, v.FromPeers.Packets, "from_peers")
	counter(descPackets, v.ToPeers.Packets, "to_peers")
	counter(descBytes, v.FromPeers.Bytes, "from_peers")
	counter(descBytes, v.ToPeers.Bytes, "to_peers")
	counter(descDropped, v.Denied, "denied")
	counter(descDropped, v.OverLimit, "over_limit")
	gauge(descFree, float64(v.FreePortsIPv4), "ipv4")
	if m.s.around.relay6.IsValid() {
		gauge(descFree, float64(v.FreePortsIPv6), "ipv6")
	}
	gauge(descPorts, float64(m.s.relayPorts()))
	if listeners, relays, ok := m.s.receiveDrops(); ok {
		counter(descDrops, listeners)
		gauge(descRelayDrops, float64(relays))
	}
	for name, c := range m.s.health().Checks {
		for _, state := range []string{web.CheckOK, web.CheckUntested, web.CheckFailed} {
			holds := 0.0
			if c.State == state {
				holds = 1
			}
			gauge(descCheck, holds, name, state)
		}
	}
	if m.s.cert != nil {
		gauge(descNotAfter, float64(m.s.cert.Leaf().NotAfter.Unix()))
	}
}

// ends are the reasons for which a session ends.
func ends() []string {
	return []string{turnsrv.EndExpired, turnsrv.EndDeleted, turnsrv.EndGone, turnsrv.EndKicked, turnsrv.EndLimit, turnsrv.EndShutdown}
}
