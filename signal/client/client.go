// Package client is the browser side of signaling: turnkey.js, one ES module
// without dependencies, which a page of any origin may import from the server.
//
//	import { join } from "https://turn.example.org/turnkey.js";
//
// What a page can do with it is written at the head of the file. Whether a
// page of another origin is then let into a room is for TURNKEY_ORIGINS to say.
package client

import (
	"bytes"
	"embed"
	"net/http"
	"time"
)

//go:embed turnkey.js turnkey.d.ts
var files embed.FS

// Handler answers GET and HEAD with turnkey.js. A browser asks again each
// time it starts anew, so that client and server are of one version.
func Handler() http.Handler { return file("turnkey.js", "text/javascript; charset=utf-8") }

// Types answers GET and HEAD with turnkey.d.ts, its TypeScript declarations.
func Types() http.Handler { return file("turnkey.d.ts", "text/plain; charset=utf-8") }

func file(name, mime string) http.Handler {
	body, _ := files.ReadFile(name) // embedded: cannot fail
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", mime)
		h.Set("Cache-Control", "no-cache")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	})
}
