package cred

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// The vector was made with openssl:
//
//	printf 1700000000:alice | openssl dgst -sha1 -hmac north -binary | base64
func TestIssueMatchesOtherImplementations(t *testing.T) {
	s, err := NewSecrets("north", "old-secret")
	if err != nil {
		t.Fatal(err)
	}
	username, password, err := s.Issue("alice", time.Unix(1700000000, 999))
	if err != nil {
		t.Fatal(err)
	}
	if want := "1700000000:alice"; username != want {
		t.Errorf("username: got %q, want %q", username, want)
	}
	if want := "Cd/49soE35ICqcJF/bCTn8Z4OyE="; password != want {
		t.Errorf("password: got %q, want %q", password, want)
	}
	all := s.Passwords(username)
	if len(all) != 2 || all[0] != password || all[1] == password {
		t.Errorf("passwords: got %q, want the signing secret's first and another one", all)
	}
}

func TestParse(t *testing.T) {
	long := strings.Repeat("x", MaxLabel)
	for _, tt := range []struct {
		username, label string
		expires         int64
		bad             bool
	}{
		{username: "1700000000:alice", expires: 1700000000, label: "alice"},
		{username: "1:", expires: 1},
		{username: "1:a.b_c~d@e-f", expires: 1, label: "a.b_c~d@e-f"},
		{username: "1:" + long, expires: 1, label: long},
		{username: "1", expires: 1},
		{username: "1:@alice:matrix.example", expires: 1, label: "@alice:matrix.example"},
		{username: "1:two words", expires: 1, label: "two words"},
		{username: "1:Zoë", expires: 1, label: "Zoë"},
		{username: "1:" + strings.Repeat("x", MaxUsername-2), expires: 1, label: strings.Repeat("x", MaxUsername-2)},
		{username: "1:" + strings.Repeat("x", MaxUsername-1), bad: true},
		{username: "1:\xff", bad: true},
		{username: "", bad: true},
		{username: ":alice", bad: true},
		{username: "-1:alice", bad: true},
		{username: "+1:alice", bad: true},
		{username: "0x10:alice", bad: true},
		{username: "9999999999999:alice", bad: true},
		{username: "1\x00:alice", bad: true},
		{username: "1:al\nice", bad: true},
	} {
		expires, label, err := Parse(tt.username)
		if tt.bad {
			if !errors.Is(err, ErrUsername) {
				t.Errorf("Parse(%q): got error %v, want ErrUsername", tt.username, err)
			}
			continue
		}
		if err != nil || expires.Unix() != tt.expires || label != tt.label {
			t.Errorf("Parse(%q): got %d %q %v, want %d %q", tt.username, expires.Unix(), label, err, tt.expires, tt.label)
		}
	}
}

func TestRefusals(t *testing.T) {
	if _, err := NewSecrets(); !errors.Is(err, ErrNoSecret) {
		t.Errorf("no secret: got %v, want ErrNoSecret", err)
	}
	if _, err := NewSecrets("good", ""); !errors.Is(err, ErrNoSecret) {
		t.Errorf("an empty secret: got %v, want ErrNoSecret", err)
	}
	s, err := NewSecrets("north")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Issue("two words", time.Now()); !errors.Is(err, ErrLabel) {
		t.Errorf("bad label: got %v, want ErrLabel", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"1700000000:alice", ":", "1:a:b", "99999999999999999999:x"} {
		f.Add(seed)
	}
	s, err := NewSecrets("north")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, username string) {
		expires, label, err := Parse(username)
		if err != nil {
			return
		}
		again, _, err := s.Issue(label, expires)
		if err != nil || label == "" {
			return // of another issuer
		}
		if strings.TrimLeft(username, "0") != strings.TrimLeft(again, "0") {
			t.Errorf("Parse(%q) issues %q", username, again)
		}
	})
}
