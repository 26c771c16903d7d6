package handler

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// maxDepth bounds how deep types are looked at; what is deeper may be anything.
const maxDepth = 8

// SchemaOf returns the JSON Schema of what decodes into a T, in the part of it that queues
// look at. Fields without omitempty and omitzero are required. It is for payloadSchema of
// a queue; workers tell it by themselves.
func SchemaOf[T any]() (json.RawMessage, error) {
	t := reflect.TypeFor[T]()
	s, err := schema(t, 0)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t, err)
	}
	return json.Marshal(s)
}

func schema(t reflect.Type, depth int) (map[string]any, error) {
	if depth > maxDepth {
		return map[string]any{}, nil
	}
	switch {
	case t == reflect.TypeFor[time.Time](), t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) && !reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		return map[string]any{"type": "string"}, nil
	case t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		return map[string]any{}, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return orNull(schema(t.Elem(), depth))
	case reflect.Bool:
		return map[string]any{"type": "boolean"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}, nil
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}, nil
	case reflect.String:
		return map[string]any{"type": "string"}, nil
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && t.Kind() == reflect.Slice {
			return map[string]any{"type": []string{"string", "null"}}, nil // base64
		}
		of, err := schema(t.Elem(), depth+1)
		return map[string]any{"type": []string{"array", "null"}, "items": of}, err
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("%s: maps have texts as their keys", t)
		}
		of, err := schema(t.Elem(), depth+1)
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": of}, err
	case reflect.Interface:
		return map[string]any{}, nil
	case reflect.Struct:
		return object(t, depth)
	}
	return nil, fmt.Errorf("%s cannot be read from JSON", t)
}

// orNull lets a value be null, too.
func orNull(s map[string]any, err error) (map[string]any, error) {
	switch kind := s["type"].(type) {
	case string:
		s["type"] = []string{kind, "null"}
	}
	return s, err
}

func object(t reflect.Type, depth int) (map[string]any, error) {
	properties, required := map[string]any{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if !f.IsExported() || tag == "-" || f.Anonymous && name == "" || len(f.Index) > 1 && hidden(t, f.Index) {
			continue
		}
		if name == "" {
			name = f.Name
		}
		s, err := schema(f.Type, depth+1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		properties[name] = s
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") && f.Type.Kind() != reflect.Pointer {
			required = append(required, name)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false}
	if len(properties) > 0 {
		s["properties"] = properties
	}
	if len(required) > 0 {
		s["required"] = required
	}
	return s, nil
}

// hidden reports whether a field of an embedded struct is under a name of that struct.
func hidden(t reflect.Type, index []int) bool {
	for i := 1; i < len(index); i++ {
		f := t.FieldByIndex(index[:i])
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			return true
		}
	}
	return false
}
