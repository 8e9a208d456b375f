package cred

import (
	"fmt"
	"strconv"
	"strings"
)

// quotaMarker is between label and quota. A label has no equals sign, and no
// client or shell takes it for anything else than itself; a second colon would
// be cut off by clients that write credentials into a URL.
const quotaMarker = "=quota-"

// Bounds of a quota.
const (
	MaxAllocations = 1_000_000
	MaxBandwidth   = 1_000_000_000_000
)

// Quota bounds the allocations that are made with a credential, together with all
// others of the same Of. It only lowers what a server lets one user have. The zero
// Quota is none.
type Quota struct {
	Of          string // who is counted as one user in place of the label, [A-Za-z0-9._~@-]{1,64}
	Allocations int    // at once; 0 = as many as the server lets a user have
	Bandwidth   int64  // bits of payload a second in each direction; 0 = as much as the server lets a user have
}

func (q Quota) valid() bool {
	return q.Of != "" && ValidLabel(q.Of) && q.Allocations >= 0 && q.Allocations <= MaxAllocations &&
		q.Bandwidth >= 0 && q.Bandwidth <= MaxBandwidth && (q.Allocations > 0 || q.Bandwidth > 0)
}

// suffix is what stands behind the label.
func (q Quota) suffix() string {
	if q == (Quota{}) {
		return ""
	}
	return fmt.Sprint(quotaMarker, q.Allocations, "-", q.Bandwidth, "-", q.Of)
}

// parseQuota reads what follows the marker, in the one form in which suffix writes it.
func parseQuota(s string) (q Quota, err error) {
	allocations, rest, _ := strings.Cut(s, "-")
	bandwidth, of, _ := strings.Cut(rest, "-")
	q.Of = of
	q.Allocations, err = strconv.Atoi(allocations)
	if err == nil {
		q.Bandwidth, err = strconv.ParseInt(bandwidth, 10, 64)
	}
	if err != nil || !q.valid() || q.suffix() != quotaMarker+s {
		return Quota{}, ErrQuota
	}
	return q, nil
}
