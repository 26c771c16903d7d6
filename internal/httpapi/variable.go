package httpapi

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/job"
)

// envValue stands for job.EnvValue in the document: a text, or an object.
type envValue struct{}

// Schema implements huma.SchemaProvider.
func (envValue) Schema(r huma.Registry) *huma.Schema {
	object := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"secret"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"secret": r.Schema(reflect.TypeFor[job.SecretRef](), true, "SecretRef"),
			"mask":   {Type: huma.TypeBoolean},
		},
	}
	object.PrecomputeMessages()
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, object}}
}
