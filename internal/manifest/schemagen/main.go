// Command schemagen prints the JSON Schema of job files. `make generate` runs it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

func main() {
	b, err := generate()
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
	_, _ = os.Stdout.Write(b)
}

// generate returns the schema of a job file's document.
func generate() ([]byte, error) {
	spec := schemaOf(reflect.TypeFor[job.Spec]())
	spec["properties"].(map[string]any)["schedule"] = map[string]any{ //nolint:errcheck,forcetypeassert // made by object
		"type": "string", "description": "Short for one entry in schedules.",
	}
	metadata := schemaOf(reflect.TypeFor[job.Metadata]())
	metadata["required"] = []string{"name"}
	b, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Carillon job",
		"type": "object", "additionalProperties": false,
		"required": []string{"apiVersion", "kind", "metadata", "spec"},
		"properties": map[string]any{
			"apiVersion": map[string]any{"const": job.APIVersion},
			"kind":       map[string]any{"const": job.KindJob},
			"metadata":   metadata,
			"spec":       spec,
		},
	}, "", "  ")
	return append(b, '\n'), err
}

// schemaOf returns the schema of a Go type of package job.
func schemaOf(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[job.Duration]():
		return map[string]any{
			"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`,
			"description": "A duration such as 90s or 1h30m.",
		}
	case reflect.TypeFor[job.Overlap]():
		return map[string]any{"enum": job.Overlaps()}
	case reflect.TypeFor[job.Misfire]():
		return map[string]any{"enum": job.Misfires()}
	case reflect.TypeFor[job.Spread]():
		return map[string]any{"enum": job.Spreads()}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Struct:
		return object(t)
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	default:
		return map[string]any{"type": "string"}
	}
}

func object(t reflect.Type) map[string]any {
	props := map[string]any{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.Anonymous && name != "" && name != "-" {
			props[name] = schemaOf(f.Type)
		}
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": props}
}
