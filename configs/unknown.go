package configs

import "strings"

// unknown is the fault of a variable that begins with the prefix and is no setting. Its value stays
// out of the text: it may be a secret under a misspelt name.
func unknown(name string, fields []field) Fault {
	f := Fault{Name: name, Problem: "no such setting", Fix: "turnkey config lists them all"}
	if serviceLink(strings.TrimPrefix(name, Prefix)) {
		f.Fix = "Kubernetes sets it for a service named turnkey: set enableServiceLinks: false in the pod"
	} else if near := nearest(name, fields); near != "" {
		f.Fix = "did you mean " + near + "?"
	}
	return f
}

// serviceLink reports whether Kubernetes sets a variable of that name, without the prefix, for a
// service named turnkey.
func serviceLink(short string) bool {
	return strings.HasPrefix(short, "SERVICE_") || strings.HasPrefix(short, "PORT_")
}

// nearest is the setting whose name takes the fewest edits to reach, or nothing when that is a
// different word rather than a slip.
func nearest(name string, fields []field) string {
	if len(name) > 64 {
		return ""
	}
	short := strings.TrimPrefix(name, Prefix)
	best, most := "", len(short)/2
	for _, f := range fields {
		if d := edits(short, strings.TrimPrefix(f.name, Prefix)); d <= most {
			best, most = f.name, d-1
		}
	}
	return best
}

// edits counts the bytes to insert, delete or replace in a to make it b (Levenshtein's distance).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
