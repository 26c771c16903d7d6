// Package schema holds the JSON Schema of job files, as it is for editors.
package schema

import _ "embed" // for the schema

//go:embed job.schema.json
var text []byte

// Job returns the schema of job files, which is that of one document of any kind.
func Job() []byte { return text }
