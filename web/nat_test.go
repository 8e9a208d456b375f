package web

import "testing"

func TestNATPage(t *testing.T) { checkPage(t, "/nat", "static/nat*.js") }
