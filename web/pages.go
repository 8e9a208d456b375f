package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
)

// Status are the facts that the landing page shows. Empty ones are left out.
type Status struct {
	Version    string
	Host       string   // the name or address in every URL that is handed out
	Public     string   // the advertised address
	PublicFrom string   // how it was found, as in "on interface eth0"
	Auth       string   // ModeLocal, ModeOpen or ModeKey
	Listen     []Socket // what is bound
	Open       []Port   // what a firewall has to let in
	Calls      int      // calls that the relay range carries at once
	Off        []Off    // what is switched off
}

// Socket is one bound address.
type Socket struct {
	Network string // "udp" or "tcp"
	Addr    netip.AddrPort
	Use     string // as in "STUN and TURN"
}

// Port is a port, or a range of them, to be opened in a firewall.
type Port struct {
	Network string // "udp" or "tcp"
	Ports   string // "3478" or "49160-49359"
	Use     string
}

// Off is something this server could do, and the setting that makes it so.
type Off struct {
	What    string // as in "TURN over TLS"
	Setting string // as in "TURNKEY_TLS_CERT"
}

//go:embed static pages
var files embed.FS

// page is what the templates see.
type page struct {
	Title  string
	Status Status
	Hidden int // addresses that are not shown to this client
	Docs   []doc
	Doc    doc
}

type doc struct {
	Name, Title string
	Body        template.HTML
}

// pages adds the routes of everything meant for people.
func (s *server) pages() {
	docs := s.render()
	landing := template.Must(template.ParseFS(files, "pages/layout.html", "pages/landing.html"))
	reading := template.Must(template.ParseFS(files, "pages/layout.html", "pages/doc.html"))
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		p := page{Title: "turnkey", Status: s.Status(), Docs: docs}
		if s.Access.local(r, s.Access.Client(r)) != nil {
			p.Status.Listen, p.Hidden = public(p.Status.Listen)
		}
		s.show(w, landing, p)
	})
	call := template.Must(template.ParseFS(files, "pages/layout.html", "pages/call.html"))
	s.mux.HandleFunc("GET /call", func(w http.ResponseWriter, _ *http.Request) {
		s.show(w, call, page{Title: "turnkey call", Docs: docs})
	})
	nat := template.Must(template.ParseFS(files, "pages/layout.html", "pages/nat.html"))
	s.mux.HandleFunc("GET /nat", func(w http.ResponseWriter, _ *http.Request) {
		s.show(w, nat, page{Title: "turnkey NAT test", Docs: docs})
	})
	lint := template.Must(template.ParseFS(files, "pages/layout.html", "pages/lint.html"))
	s.mux.HandleFunc("GET /lint", func(w http.ResponseWriter, _ *http.Request) {
		s.show(w, lint, page{Title: "turnkey lint", Docs: docs})
	})
	for _, d := range docs {
		show := func(w http.ResponseWriter, _ *http.Request) {
			s.show(w, reading, page{Title: d.Title + " - turnkey", Docs: docs, Doc: d})
		}
		s.mux.HandleFunc("GET /docs/"+d.Name, show)
		s.mux.HandleFunc("GET /docs/"+d.Name+".md", show) // links between the files
	}
	s.mux.Handle("GET /docs/{$}", http.RedirectHandler("/#docs", http.StatusSeeOther))
	names, _ := fs.ReadDir(files, "static") // embedded: cannot fail
	for _, f := range names {
		s.mux.HandleFunc("GET /"+f.Name(), static(f.Name()))
	}
}

// public leaves out what only this host and its networks can reach: strangers
// need not know the addresses in there.
func public(all []Socket) (shown []Socket, hidden int) {
	for _, l := range all {
		if !isLocal(plain(l.Addr.Addr())) {
			shown = append(shown, l)
		}
	}
	return shown, len(all) - len(shown)
}

func (s *server) show(w http.ResponseWriter, t *template.Template, p page) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", p); err != nil {
		panic(fmt.Errorf("page %q: %w", p.Title, err))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(b.Bytes()) // the client went away: nobody is left to tell
}

// static serves an embedded file; a browser asks again each time, and gets it
// only if it changed.
func static(name string) http.HandlerFunc {
	body, _ := fs.ReadFile(files, "static/"+name) // listed: cannot fail
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	}
}

// render turns the markdown files into pages once, sorted by name. Raw HTML
// in them is left out. Tables are aligned by attribute, for the security
// policy forbids inline styles.
func (s *server) render() []doc {
	if s.Docs == nil {
		return nil
	}
	md := goldmark.New(
		goldmark.WithExtensions(extension.Linkify, extension.NewTable(
			extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	names, _ := fs.Glob(s.Docs, "*.md") // a fixed pattern: cannot fail
	var docs []doc
	for _, name := range names {
		var body bytes.Buffer
		source, err := fs.ReadFile(s.Docs, name)
		if err == nil {
			err = md.Convert(source, &body)
		}
		if err != nil {
			s.Log.Error("cannot show a document", "name", name, "error", err)
			continue
		}
		d := doc{Name: strings.TrimSuffix(name, path.Ext(name)), Body: template.HTML(body.String())}
		d.Title = title(string(source), d.Name)
		docs = append(docs, d)
	}
	return docs
}

// title is the text of the first heading, or the file's name.
func title(source, name string) string {
	for line := range strings.Lines(source) {
		if text, ok := strings.CutPrefix(line, "# "); ok {
			return strings.ReplaceAll(strings.Trim(text, "# \r\n"), "`", "")
		}
	}
	return name
}
