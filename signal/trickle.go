package signal

import (
	"encoding/json"
	"slices"
	"strconv"

	"turnkey/signal/sdp"
)

// iceCandidate is what a candidate message says.
type iceCandidate struct {
	sdp.Candidate
	end    bool
	ufrag  string
	mid    *string
	index  *int
	fields fields // of the candidate object
	rest   fields // of the message
}

// place finds the media section that the candidate belongs to, and names it both
// ways: some stacks send one and others take the other alone.
func (c *iceCandidate) place(d *sdp.Description) *Error {
	at := -1
	switch {
	case c.mid == nil && c.index == nil && len(d.Media) != 1:
		return errNoSection(len(d.Media))
	case c.index != nil && *c.index >= len(d.Media):
		return errWrongSection(strconv.Itoa(*c.index), len(d.Media))
	case c.mid != nil:
		at = slices.IndexFunc(d.Media, func(m sdp.Media) bool { return m.Mid == *c.mid || m.Mid == "" })
		if at < 0 {
			return errWrongSection(strconv.Quote(*c.mid), len(d.Media))
		}
	case c.index != nil:
		at = *c.index
	default:
		at = 0
	}
	if c.index == nil {
		c.fields["sdpMLineIndex"] = json.RawMessage(strconv.Itoa(at))
	}
	if mid := d.Media[at].Mid; c.mid == nil && mid != "" {
		c.fields["sdpMid"] = encode(mid)
	}
	return nil
}

// filled is what is passed on of m, once the candidate has its place.
func (c *iceCandidate) filled(m Message) []byte {
	if c.mid != nil && c.index != nil {
		return m.body
	}
	c.rest["candidate"] = encode(c.fields)
	return c.rest.body()
}

// candidate checks a candidate, and gives it the one shape that every stack
// takes: an object with a line that begins with "candidate:". It gives the end of
// candidates one shape, null. An empty candidate that names its media section ends
// that section alone: browsers send one before the null, other clients stumble
// over it. Nothing is left to pass on then, and the member is removed.
func (f fields) candidate() (*iceCandidate, *Error) {
	raw, ok := f["candidate"]
	if !ok {
		return nil, missing("candidate")
	}
	ufrag, err := f.text("usernameFragment", false)
	if err != nil {
		return nil, err
	}
	if s := string(raw); s == "null" || s == `""` {
		f["candidate"] = json.RawMessage("null")
		return &iceCandidate{end: true, ufrag: ufrag}, nil
	}
	c := f
	if raw[0] == '{' {
		c = nil
		if json.Unmarshal(raw, &c) != nil {
			return nil, errCandidateShape("candidate is neither an object nor null")
		}
	} else if c = f.flat(); c == nil {
		return nil, errCandidateShape("candidate is neither an object nor null")
	}
	line, err := c.text("candidate", true)
	if err != nil {
		return nil, errCandidateShape("candidate has no string named candidate in it")
	}
	ice := &iceCandidate{fields: c, rest: f, ufrag: ufrag}
	if line == "" && (c.names("sdpMid") || c.names("sdpMLineIndex")) {
		delete(f, "candidate")
		return ice, nil
	}
	if line == "" {
		f["candidate"] = json.RawMessage("null")
		return &iceCandidate{end: true, ufrag: ufrag}, nil
	}
	if ice.Candidate, ok = sdp.ParseCandidate(sdp.MendCandidate(line)); !ok {
		return nil, errCandidateShape("this is no candidate: " + strconv.Quote(line[:min(len(line), 80)]))
	}
	c["candidate"] = encode(sdp.MendCandidate(line))
	if err := ice.read(c); err != nil {
		return nil, err
	}
	f["candidate"] = encode(c)
	return ice, nil
}

// flat returns the candidate of a message that has its members beside the line
// and not in an object: as the browser's object was spread, or as aiortc says it.
func (f fields) flat() fields {
	if raw := f["candidate"]; raw[0] != '"' {
		return nil
	}
	c := fields{"candidate": f["candidate"]}
	for name, as := range map[string]string{"sdpMid": "sdpMid", "sdpMLineIndex": "sdpMLineIndex", "usernameFragment": "usernameFragment", "label": "sdpMLineIndex"} {
		if raw, ok := f[name]; ok {
			c[as] = raw
			delete(f, name)
		}
	}
	return c
}

// read takes what tells where the candidate belongs.
func (ice *iceCandidate) read(c fields) *Error {
	if raw, ok := c["id"]; ok && !c.names("sdpMid") { // aiortc's names
		c["sdpMid"] = raw
		delete(c, "id")
	}
	if raw, ok := c["label"]; ok && !c.names("sdpMLineIndex") {
		c["sdpMLineIndex"] = raw
		delete(c, "label")
	}
	if c.names("sdpMid") {
		mid, err := c.text("sdpMid", true)
		if err != nil {
			return err
		}
		ice.mid = &mid
	}
	if c.names("sdpMLineIndex") {
		n, err := strconv.Atoi(string(c["sdpMLineIndex"]))
		if err != nil || n < 0 || n > 1000 {
			return errCandidateShape("sdpMLineIndex is no number of a media section")
		}
		ice.index = &n
	}
	if c.names("usernameFragment") {
		ufrag, err := c.text("usernameFragment", true)
		if err != nil {
			return err
		}
		ice.ufrag = ufrag
	}
	if ice.ufrag == "" {
		ice.ufrag = ice.Candidate.Ufrag
	}
	return nil
}
