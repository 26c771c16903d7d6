package audit

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzAfter: a position that is taken is read back as it was told.
func FuzzAfter(f *testing.F) {
	f.Add("")
	f.Add("2026-05-04T10:30:15.000000000Z.5")
	f.Add(".1")
	fuzzed.Run(f, func(t *testing.T, text string) {
		name, entry, err := parseAfter(text)
		if err == nil && text != "" && (!strings.HasPrefix(text, name+".") || entry != 0 && name == "") {
			t.Errorf("%q is %q, %d", text, name, entry)
		}
	})
}

// FuzzChanges: whatever values are compared, a secret by its name is in no record.
func FuzzChanges(f *testing.F) {
	f.Add([]byte(`{"env":{"A":"b"}}`), []byte(`{"env":{"A":"c"}}`), "hunter2-hunter2")
	f.Add([]byte(`[]`), []byte(`{"a":[1,{"token":"x"}]}`), "{}")
	f.Add([]byte(nil), []byte(`1`), "\x00")
	fuzzed.Run(f, func(t *testing.T, was, is []byte, secret string) {
		_, _ = Changes(was, is)
		const mark = "4uE9sWqk"
		env := func(value string) []byte {
			text, err := json.Marshal(map[string]any{"env": map[string]string{"PGPASSWORD": value, "PLAIN": secret}})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		told, _ := Changes(env("x"), env(mark+secret))
		for _, c := range told {
			if text, _ := json.Marshal(c); strings.Contains(string(text), mark) {
				t.Errorf("told: %s", text)
			}
		}
	})
}
