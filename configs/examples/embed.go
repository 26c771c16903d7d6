// Package examples holds the job files that `carillon dev` loads on its first
// start.
package examples

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml
var files embed.FS

// FS returns the example files.
func FS() fs.FS { return files }
