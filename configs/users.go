package configs

import (
	"fmt"
	"slices"
	"strings"
)

const (
	passwordMin = 8   // bytes
	userMax     = 128 // bytes of a name
)

// User is a user of TURN whose password does not expire.
type User struct{ Name, Password string }

// String is the name alone: the password is nobody's to read.
func (u User) String() string { return u.Name }

// parseUsers reads name:password entries. What it returns as an error never
// repeats one: they are secret.
func parseUsers(s string) ([]User, error) {
	users, err := parseList(s, parseUser)
	if err != nil {
		return nil, err
	}
	for i, u := range users {
		if slices.ContainsFunc(users[:i], func(before User) bool { return before.Name == u.Name }) {
			return nil, inEntry(i, len(users), &problem{"the name is listed twice", "list each user once"})
		}
	}
	return users, nil
}

func parseUser(s string) (User, error) {
	name, password, found := strings.Cut(s, ":")
	switch {
	case !found:
		return User{}, &problem{"not of the form name:password", "write e.g. meter:PASSWORD, without commas in it"}
	case name == "" || len(name) > userMax || !visible(name):
		return User{}, &problem{"the name is not 1 to 128 printable ASCII characters without spaces", "write e.g. meter:PASSWORD"}
	case !visible(password):
		return User{}, &problem{"the password has a character that is not printable ASCII, or a space", secretFix}
	case len(password) < passwordMin:
		return User{}, &problem{fmt.Sprintf("the password has only %d bytes", len(password)), "use at least 8, better 16 random ones, e.g. from: openssl rand -hex 16"}
	}
	return User{name, password}, nil
}

// visible reports whether s is printable ASCII without spaces.
func visible(s string) bool {
	for _, b := range []byte(s) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}
