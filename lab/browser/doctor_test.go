//go:build linux

package browser

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"turnkey/signal"
	"turnkey/web"
)

// The call page says in words why nobody answers, by the names of people.
func TestCallPageSaysWhatTheDoctorFound(t *testing.T) {
	t.Parallel()
	const key = "a-key-of-the-browser-lab"
	_, host := start(t, "TURNKEY_AUTH=key", "TURNKEY_API_KEY="+key)
	token, err := web.Token{Room: "doctor", TTL: time.Hour}.Sign(key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	silent, err := signal.Enter(t.Context(), "ws://"+server+":8080/v1/ws", "doctor", signal.ClientOptions{
		Name: "Bob", Token: token, HTTP: &http.Client{Transport: &http.Transport{DialContext: host.Dial}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	var got struct {
		Error, Said string
		Errors      []string
	}
	Run(t, host, "call-doctor.mjs", callInput{URL: "http://" + server + ":8080/", Token: token}, &got)
	if got.Error != "" {
		t.Fatalf("the browser reports: %s", got.Error)
	}
	if want := "Bob has not answered the offer that this browser sent "; !strings.Contains(got.Said, want) || strings.Contains(got.Said, "p_") {
		t.Errorf("the page says %q, want %q in it, and names in place of ids", got.Said, want)
	}
	for _, e := range got.Errors {
		t.Errorf("browser console: %s", e)
	}
}
