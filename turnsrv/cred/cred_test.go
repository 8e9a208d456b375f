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
		u, err := Parse(tt.username)
		if tt.bad {
			if !errors.Is(err, ErrUsername) {
				t.Errorf("Parse(%q): got error %v, want ErrUsername", tt.username, err)
			}
			continue
		}
		if err != nil || u.Expires.Unix() != tt.expires || u.Name != tt.label || u.Quota != (Quota{}) {
			t.Errorf("Parse(%q): got %+v %v, want %d %q", tt.username, u, err, tt.expires, tt.label)
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

func TestQuotaIsInTheUsername(t *testing.T) {
	s, err := NewSecrets("north")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		label, want string
		quota       Quota
	}{
		{"alice", "1700000000:alice=quota-2-2000000-team", Quota{"team", 2, 2_000_000}},
		{"", "1700000000:=quota-2-0-a-b", Quota{"a-b", 2, 0}},
		{"a-b", "1700000000:a-b=quota-0-10000-~9", Quota{"~9", 0, 10_000}},
		{"alice", "1700000000:alice", Quota{}},
	} {
		username, password, err := s.IssueWithin(tt.quota, tt.label, time.Unix(1700000000, 0))
		if err != nil || username != tt.want || password != s.Passwords(tt.want)[0] {
			t.Errorf("%+v: got %q %v, want %q", tt.quota, username, err, tt.want)
		}
		if u, err := Parse(username); err != nil || u.Name != tt.label || u.Quota != tt.quota || u.Expires.Unix() != 1700000000 {
			t.Errorf("Parse(%q): got %+v, %v", username, u, err)
		}
	}
	long := strings.Repeat("x", MaxLabel)
	username, _, err := s.IssueWithin(Quota{long, MaxAllocations, MaxBandwidth}, long, time.Unix(999999999999, 0))
	if _, parseErr := Parse(username); err != nil || parseErr != nil || len(username) > MaxUsername {
		t.Errorf("the longest username has %d bytes: %v, %v", len(username), err, parseErr)
	}
	for _, q := range []Quota{{"", 1, 0}, {"a", 0, 0}, {"a", -1, 1}, {"a", 1, -1}, {"a b", 1, 0}, {"a=b", 1, 0}, {long + "x", 1, 0}, {"a", MaxAllocations + 1, 0}, {"a", 0, MaxBandwidth + 1}} {
		if username, _, err := s.IssueWithin(q, "a", time.Now()); !errors.Is(err, ErrQuota) {
			t.Errorf("%+v: got %q, %v, want ErrQuota", q, username, err)
		}
	}
}

// What only looks like a quota lets nobody in: it would be none.
func TestQuotaHasOneForm(t *testing.T) {
	for _, quota := range []string{
		"", "-", "--", "2", "2-", "2-0", "2-0-", "0-0-a", "02-0-a", "+2-0-a", "2-00-a", "2--a", "-2-0-a", "2-0-a=quota-1-0-a", "2-0-a:b", "2-0-a b",
		"2.0-0-a", "1000001-0-a", "0-1000000000001-a", "9223372036854775808-0-a", "0-9223372036854775808-a", "\u0662-0-a", "2-0-" + strings.Repeat("x", MaxLabel+1),
	} {
		if u, err := Parse("1700000000:alice=quota-" + quota); !errors.Is(err, ErrQuota) || u != (Username{}) {
			t.Errorf("%q: got %+v, %v, want ErrQuota", quota, u, err)
		}
	}
	for _, name := range []string{"alice=quota", "uid=quota2", "alice=QUOTA-2-0-a", "alice-quota-2-0-a", "@a=b:matrix.example"} {
		if u, err := Parse("1700000000:" + name); err != nil || u.Name != name || u.Quota != (Quota{}) {
			t.Errorf("%q: got %+v, %v, want the name of another issuer", name, u, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"1700000000:alice", ":", "1:a:b", "99999999999999999999:x", "1700000000:alice=quota-2-2000000-team", "1:=quota-0-1-~", "1:a=quota-1-0-b=quota-1-0-c",
	} {
		f.Add(seed)
	}
	s, err := NewSecrets("north")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, username string) {
		u, err := Parse(username)
		if err != nil {
			return
		}
		if strings.Contains(username, quotaMarker) != (u.Quota != Quota{}) || strings.Contains(u.Name, quotaMarker) {
			t.Errorf("Parse(%q): got %+v, which gets around a quota", username, u)
		}
		again, _, err := s.IssueWithin(u.Quota, u.Name, u.Expires)
		if errors.Is(err, ErrQuota) {
			t.Errorf("Parse(%q): got %+v, which is not issued", username, u)
		}
		if err != nil || u.Name == "" && u.Quota == (Quota{}) {
			return // of another issuer
		}
		if strings.TrimLeft(username, "0") != strings.TrimLeft(again, "0") {
			t.Errorf("Parse(%q) issues %q", username, again)
		}
	})
}
