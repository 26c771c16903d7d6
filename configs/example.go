package configs

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ExampleScheduler returns a file that says what is so without it: every
// setting with its default. Settings whose default differs from host to host
// are commented out.
func ExampleScheduler() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# Settings of a scheduler node, with their defaults: scheduler --config FILE\n# Durations have a unit: 300ms, 30s, 5m.\n")
	defaults := DefaultScheduler()
	section := ""
	for _, s := range schedulerSettings() {
		in, name, deeper := strings.Cut(s.path, ".")
		indent := "  "
		if !deeper {
			in, name, indent = "", s.path, ""
		}
		b.WriteByte('\n')
		if in != section && in != "" {
			b.WriteString(in + ":\n")
		}
		section = in
		fmt.Fprintf(&b, "%s# %s.\n%s# ", indent, sentence(s.usage), indent)
		if s.flag != "" {
			fmt.Fprintf(&b, "--%s, ", s.flag)
		}
		b.WriteString(s.variable() + "\n")
		if s.example != "" {
			fmt.Fprintf(&b, "%s# %s: %s\n", indent, name, s.example)
			continue
		}
		value := field(reflect.ValueOf(&defaults).Elem(), s.path).Interface()
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		line, err := yaml.Marshal(map[string]any{name: value})
		if err != nil {
			return nil, fmt.Errorf("example of %s: %w", s.path, err)
		}
		for _, text := range strings.Split(strings.TrimSuffix(string(line), "\n"), "\n") {
			b.WriteString(indent + text + "\n")
		}
	}
	return b.Bytes(), nil
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
