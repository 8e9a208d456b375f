package nattest

import (
	"slices"
	"strings"
)

// classicName is what RFC 3489 section 5 calls a NAT, "" where the evidence
// leaves more than one name. It has one for all mappings that depend on the
// destination.
func (f *Family) classicName() string {
	has := func(l []string, b string) bool { return slices.Contains(l, b) }
	mapped, filter := f.Mapping.Possible, f.Filtering.Possible
	if f.Mapping.Behavior != Unknown {
		mapped = []string{f.Mapping.Behavior}
	}
	switch {
	case f.UDP == "blocked":
		return "UDP blocked"
	case f.NAT == "no" && !has(filter, EndpointIndependent):
		return "symmetric firewall"
	case f.NAT == "no" && len(filter) == 1:
		return "open internet"
	case f.NAT != "yes":
		return ""
	case !has(mapped, EndpointIndependent):
		return "symmetric"
	case len(mapped) > 1 || len(filter) != 1:
		return ""
	}
	return map[string]string{
		EndpointIndependent: "full cone", AddressDependent: "restricted cone", AddressAndPortDependent: "port-restricted cone",
	}[filter[0]]
}

// signature is mapping and filtering in short: EIM|ADM where both are possible,
// ? where nothing is known.
func (f *Family) signature(family string) string {
	switch f.UDP {
	case NotTested, "no_answer":
		return ""
	case "blocked":
		return family + ":blocked"
	}
	mapped := f.Mapping.Possible
	if f.Mapping.Behavior != Unknown {
		mapped = []string{f.Mapping.Behavior}
	}
	return family + ":" + abbreviated(mapped, "M") + "/" + abbreviated(f.Filtering.Possible, "F")
}

func abbreviated(possible []string, suffix string) string {
	if len(possible) == 3 || len(possible) == 0 {
		return "?"
	}
	var out []string
	for _, b := range possible {
		out = append(out, map[string]string{EndpointIndependent: "EI", AddressDependent: "AD", AddressAndPortDependent: "APD"}[b]+suffix)
	}
	return strings.Join(out, "|")
}
