package web

import (
	"fmt"
	"strings"
)

// Rights are what a client may do, one bit each.
type Rights uint8

// The rights that the claim perm of a token may list.
const (
	RightJoin  Rights = 1 << iota // join a room
	RightRelay                    // get TURN credentials; without it STUN only
	RightList                     // see rooms and who is in them
	RightKick                     // put peers out of rooms
	RightTell                     // send messages into rooms
)

// Who names no rights has those of a caller; the API key has all.
const (
	callerRights = RightJoin | RightRelay
	allRights    = callerRights | RightList | RightKick | RightTell
)

var rightNames = [...]string{"join", "relay", "list", "kick", "tell"}

// Has tells whether all of other are in r.
func (r Rights) Has(other Rights) bool { return r&other == other }

// Names lists the rights as the claim does. It is never nil.
func (r Rights) Names() []string {
	names := []string{}
	for i, name := range rightNames {
		if r.Has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}

func (r Rights) String() string { return strings.Join(r.Names(), ",") }

// ParseRights reads names separated by commas; "" is a caller's, join and relay.
func ParseRights(s string) (Rights, error) {
	if s == "" {
		return callerRights, nil
	}
	return rightsOf(strings.Split(s, ","))
}

// rightsOf refuses names that it does not know: one that is misspelt would be
// missed only when somebody needs it.
func rightsOf(names []string) (r Rights, err error) {
next:
	for _, name := range names {
		for i, known := range rightNames {
			if strings.TrimSpace(name) == known {
				r |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("right %.40q: use some of %s", name, allRights)
	}
	return r, nil
}
