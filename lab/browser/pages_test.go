//go:build linux

package browser

import (
	"os"
	"testing"
)

// Every page is whole on a phone and on a desk, light and dark: nothing runs
// out of the window, no error in the console, no request elsewhere, text that
// can be read, controls that have names. With LAB_SHOTS=DIR there are
// pictures of them in DIR afterwards.
func TestPagesAreSound(t *testing.T) {
	_, host := start(t)
	in := struct {
		URL     string   `json:"url"`
		Paths   []string `json:"paths"`
		Browser string   `json:"browser"`
		Widths  []int    `json:"widths"`
		Shots   string   `json:"shots"`
	}{
		URL:    "http://" + server + ":8080",
		Paths:  []string{"/", "/call", "/nat", "/lint", "/docs/protocol"},
		Widths: []int{360, 1280},
		Shots:  os.Getenv("LAB_SHOTS"),
	}
	for _, name := range []string{"chromium", "firefox"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := in
			in.Browser = name
			var got struct {
				Error  string
				Faults []string
				Pages  int
			}
			Run(t, host, "pages.mjs", in, &got)
			if got.Error != "" {
				t.Fatalf("the browser reports: %s", got.Error)
			}
			if least := len(in.Paths) * len(in.Widths); got.Pages < least {
				t.Errorf("got %d pages looked at, want %d at least", got.Pages, least)
			}
			for _, fault := range got.Faults {
				t.Error(fault)
			}
		})
	}
}
