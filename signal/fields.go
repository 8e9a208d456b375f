package signal

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"turnkey/signal/sdp"
)

// fields are the members of a message, their values as they came.
type fields map[string]json.RawMessage

func parse(b []byte) (fields, *Error) {
	const hint = `send one object as text, such as {"type":"join","room":"demo"}`
	if !utf8.Valid(b) {
		return nil, fault("bad_json", hint, "the message is not UTF-8")
	}
	var f fields
	err := json.Unmarshal(b, &f)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return nil, fault("bad_json", hint, "the message is not JSON: %v at byte %d", err, syntax.Offset)
	}
	if err != nil || f == nil {
		return nil, fault("bad_json", hint, "the message is JSON, but not an object")
	}
	return f, nil
}

func (f fields) id() (int64, *Error) {
	raw, ok := f["id"]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 1 || n > maxID {
		return 0, fault("bad_field", "count your requests: 1, 2, 3", "id is not an integer from 1 to 2^53-1")
	}
	return n, nil
}

// number returns a count, 0 if it is absent and not needed.
func (f fields) number(name string, needed bool) (int64, *Error) {
	raw, ok := f[name]
	if !ok && needed {
		return 0, missing(name)
	}
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 0 || n > maxID {
		return 0, fault("bad_field", "repeat the seq of the newest message that you received", "%s is not an integer from 0 to 2^53-1", name)
	}
	return n, nil
}

// flag returns a boolean, false if it is absent.
func (f fields) flag(name string) (bool, *Error) {
	switch raw, ok := f[name]; {
	case !ok || string(raw) == "false":
		return false, nil
	case string(raw) == "true":
		return true, nil
	}
	return false, fault("bad_field", "see docs/protocol.md for the fields of each message", "%s is neither true nor false", name)
}

func (f fields) resume(m *Message) (err *Error) {
	if err := f.version(); err != nil {
		return err
	}
	if m.Resume, err = f.text("resume", true); err != nil {
		return err
	}
	m.Seq, err = f.number("seq", false)
	return err
}

func (f fields) version() *Error {
	if v, ok := f["v"]; ok && string(v) != "1" {
		return fault("bad_version", `leave v out or send "v":1`, "this server speaks version 1 of the protocol")
	}
	return nil
}

// text returns a string member, "" if it is absent and not needed.
func (f fields) text(name string, needed bool) (s string, _ *Error) {
	raw, ok := f[name]
	if !ok && needed {
		return "", missing(name)
	}
	if ok && (raw[0] != '"' || json.Unmarshal(raw, &s) != nil) {
		return "", fault("bad_field", "see docs/protocol.md for the fields of each message", "%s is not a string", name)
	}
	return s, nil
}

func (f fields) join(m *Message) (err *Error) {
	if err := f.version(); err != nil {
		return err
	}
	if m.Room, err = f.text("room", true); err != nil {
		return err
	}
	if !roomName.MatchString(m.Room) {
		return fault("bad_field", "take 1 to 64 of A-Z a-z 0-9 . _ ~ -", "%.100q is not a room name", m.Room)
	}
	if m.Token, err = f.text("token", false); err != nil {
		return err
	}
	if m.Keep, err = f.flag("resume"); err != nil {
		return err
	}
	if m.Wait, err = f.flag("wait"); err != nil {
		return err
	}
	if m.Nonce, err = f.nonce(m.Keep); err != nil {
		return err
	}
	if _, ok := f["rollback"]; ok {
		can, err := f.flag("rollback")
		if err != nil {
			return err
		}
		m.fixed = !can
	}
	return f.update(m)
}

// nonce returns what a client is known by until it has its token. It is a secret,
// so the error does not repeat it.
func (f fields) nonce(keep bool) (string, *Error) {
	n, err := f.text("nonce", false)
	switch {
	case err != nil || f["nonce"] == nil:
		return "", err
	case !nonceText.MatchString(n):
		return "", fault("bad_field", "take 16 to 64 of A-Z a-z 0-9 _ -, at random", "nonce has %d characters, or others than it may have", utf8.RuneCountInString(n))
	case !keep:
		return "", fault("bad_field", `send "resume":true with it, or leave it out`, "a nonce is of use to who may resume alone")
	}
	return n, nil
}

// offer returns the name of an offer: its own, or of that which is answered.
func (f fields) offer() (string, *Error) {
	name, err := f.text("offer", false)
	if err == nil && utf8.RuneCountInString(name) > maxOffer {
		return "", fault("bad_field", "number your offers, or name them at random", "offer has more than %d characters", maxOffer)
	}
	return name, err
}

// update reads what others see of a peer.
func (f fields) update(m *Message) (err *Error) {
	_, m.named = f["name"]
	if m.Name, err = f.text("name", false); err != nil {
		return err
	}
	if utf8.RuneCountInString(m.Name) > maxName || strings.ContainsFunc(m.Name, unicode.IsControl) {
		return fault("bad_field", "shorten it, and leave out line breaks", "name has more than %d characters, or control characters", maxName)
	}
	if meta := f["meta"]; meta != nil {
		if meta[0] != '{' || len(meta) > maxMeta {
			return fault("bad_field", "send the rest as a message", "meta is not an object of at most %d bytes", maxMeta)
		}
		m.Meta = meta
	}
	return nil
}

// description reads an SDP, mends what leaves no doubt, and says so.
func (f fields) description(kind Type) (*sdp.Description, []sdp.Fault, *Error) {
	raw, ok := f["sdp"]
	if !ok {
		return nil, nil, missing("sdp")
	}
	if raw[0] == '{' { // a description in a description
		raw = encode(string(raw))
	}
	var text string
	if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return nil, nil, fault("bad_field", "send the text alone: pc.localDescription.sdp", "sdp is not a string")
	}
	mended, notes := sdp.Mend(text)
	if mended != text || f["sdp"][0] == '{' {
		f["sdp"] = encode(mended)
	}
	d := sdp.Parse(mended)
	if wrong := d.Check(sdp.Kind(kind)); wrong != nil {
		return nil, nil, ofFault(wrong)
	}
	return &d, notes, nil
}

func (f fields) names(member string) bool {
	raw, ok := f[member]
	return ok && string(raw) != "null"
}

// body joins the members that the server does not set itself.
func (f fields) body() []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(f)) {
		switch name {
		case "type", "id", "re", "seq", "peer":
			continue
		}
		b.WriteByte(',')
		b.Write(encode(name))
		b.WriteByte(':')
		b.Write(f[name])
	}
	return b.Bytes()
}

func missing(name string) *Error {
	return fault("missing_field", "see docs/protocol.md for the fields of each message", "%s is missing", name)
}

func unknown(kind string) *Error {
	hint := "the types are join, offer, answer, candidate, message, ice, bye, update, restart, offer-request, state, resume and ack"
	if lower := strings.ToLower(kind); lower != kind {
		hint += ", in lower case"
	}
	return fault("unknown_type", hint, "%.64q is not a type of message", kind)
}
