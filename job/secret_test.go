package job

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a job says of a variable is the same after it was stored; a text is a text, as
// in earlier releases.
func TestEnvValueInJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]EnvValue{
		`"a"`:                                Text("a"),
		`""`:                                 {},
		`"{"`:                                Text("{"),
		`{"secret":{"file":"/a"}}`:           {Secret: &SecretRef{File: "/a"}},
		`{"secret":{"env":"A"},"mask":true}`: {Secret: &SecretRef{Env: "A"}, Mask: true},
		`{"secret":{"exec":["/a","b"]}}`:     {Secret: &SecretRef{Exec: []string{"/a", "b"}}},
	} {
		var got EnvValue
		if err := json.Unmarshal([]byte(text), &got); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if b, err := json.Marshal(got); string(b) != text || err != nil {
			t.Errorf("%s becomes %s, %v", text, b, err)
		}
	}
	for _, text := range []string{`{}`, `{"mask":true}`, `[]`, `1`, `{"secret":"x"}`} {
		if err := json.Unmarshal([]byte(text), new(EnvValue)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
