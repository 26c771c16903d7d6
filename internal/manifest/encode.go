package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
)

// Encode writes objects as YAML that Decode reads back, fields in the order in
// which the types declare them.
func Encode(objects ...Object) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	for i := range objects {
		o := &objects[i]
		b, err := json.Marshal(struct {
			APIVersion string       `json:"apiVersion"`
			Kind       string       `json:"kind"`
			Metadata   job.Metadata `json:"metadata"`
			Spec       job.Spec     `json:"spec"`
		}{job.APIVersion, o.Kind, o.Metadata, o.Spec})
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.Metadata.Key(), err)
		}
		// JSON is YAML: read as nodes it keeps its order, and only the style changes.
		var n yaml.Node
		if err := yaml.Unmarshal(b, &n); err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.Metadata.Key(), err)
		}
		plain(&n)
		if err := enc.Encode(&n); err != nil {
			return nil, fmt.Errorf("encode %s: %w", o.Metadata.Key(), err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return out.Bytes(), nil
}

// plain takes the JSON style off a node: blocks instead of braces, quotes only
// where they are needed, texts of several lines as such.
func plain(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && bytes.ContainsRune([]byte(n.Value), '\n') {
		n.Style = yaml.LiteralStyle
	}
	for _, c := range n.Content {
		plain(c)
	}
}
