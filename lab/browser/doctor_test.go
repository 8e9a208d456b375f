//go:build linux

package browser

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"turnkey/signal"
	"turnkey/web"
)

// The call page says in words why nobody answers, by the names of people, and asks
// once for all of them.
func TestCallPageSaysWhatTheDoctorFound(t *testing.T) {
	t.Parallel()
	const key = "a-key-of-the-browser-lab"
	_, host := start(t, "TURNKEY_AUTH=key", "TURNKEY_API_KEY="+key)
	token, err := web.Token{Room: "doctor", TTL: time.Hour}.Sign(key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		silent, err := signal.Enter(t.Context(), "ws://"+server+":8080/v1/ws", "doctor", signal.ClientOptions{
			Name: fmt.Sprint("Bob", i), Token: token, HTTP: &http.Client{Transport: &http.Transport{DialContext: host.Dial}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = silent.Close() })
	}
	var got struct {
		Error  string
		Said   []string
		Asked  int
		Errors []string
	}
	Run(t, host, "call-doctor.mjs", callInput{URL: "http://" + server + ":8080/", Token: token}, &got)
	if got.Error != "" {
		t.Fatalf("the browser reports: %s", got.Error)
	}
	all := strings.Join(got.Said, "\n")
	for i := range 7 {
		if want := fmt.Sprintf("Bob%d has not answered the offer that this browser sent ", i); !strings.Contains(all, want) || strings.Contains(all, "p_") {
			t.Errorf("the page says %q, want %q in it, and names in place of ids", got.Said, want)
		}
	}
	if got.Asked > 2 { // eight pages behind one address share what the server answers
		t.Errorf("the page asked %d times about seven peers, want once for all", got.Asked)
	}
	for _, e := range got.Errors {
		t.Errorf("browser console: %s", e)
	}
}
