// Package docs holds the documentation, so that a server can show it.
package docs

import "embed"

// Files are the Markdown files of this folder.
//
//go:embed *.md
var Files embed.FS
