package plan

import _ "embed" // for the schema

//go:embed plan.xsd
var xsd string

// XSD is the schema of plans in XML.
func XSD() string { return xsd }
