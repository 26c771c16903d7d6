package payload

import (
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const schema = `{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["month"], "additionalProperties": false, "properties": {
		"month": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"},
		"copies": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10},
		"share": {"type": "number", "maximum": 0.3},
		"to": {"type": "array", "items": {"type": "string", "minLength": 2, "maxLength": 3}, "minItems": 1, "maxItems": 2},
		"how": {"enum": ["pdf", 1.0, null]},
		"more": {"type": ["object", "null"], "additionalProperties": {"const": true}}
	}}`
	s, err := Parse(schema)
	if err != nil {
		t.Fatal(err)
	}
	for payload, want := range map[string][]string{
		`{"month":"2027-01"}`: nil,
		`{"month":"2027-01","copies":9,"share":0.3,"to":["äöü"],"how":1,"more":{"a":true}}`: nil,
		`{"month":"2027-01","copies":2.0,"how":null,"more":null}`:                           nil,
		``:                                    {"is not JSON: EOF"},
		`{"month":"2027-01"} x`:               {"is not JSON: there is more behind the first value"},
		`[]`:                                  {"is array; want object"},
		`{}`:                                  {"month: is missing"},
		`{"month":"January","x":1}`:           {"month: does not match ^[0-9]{4}-[0-9]{2}$", "x: is not known"},
		`{"month":"2027-01","copies":1.5}`:    {"copies: is number; want integer"},
		`{"month":"2027-01","copies":0}`:      {"copies: 0 is less than 1"},
		`{"month":"2027-01","copies":10}`:     {"copies: 10 is not less than 10"},
		`{"month":"2027-01","share":0.30001}`: {"share: 0.30001 is more than 3/10"},
		`{"month":"2027-01","share":1e99999}`: {"share: 1e99999 is too long a number"},
		`{"month":"2027-01","to":[]}`:         {"to: has 0 items; at least 1 are wanted"},
		`{"month":"2027-01","to":["a",5]}`:    {"to[0]: has 1 characters; at least 2 are wanted", "to[1]: is number; want string"},
		`{"month":"2027-01","how":"xls"}`:     {`how: is none of ["pdf",1.0,null]`},
		`{"month":"2027-01","more":{"a":1}}`:  {"more.a: is none of [true]"},
	} {
		if got := s.Check([]byte(payload)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", payload, got, want)
		}
	}
}

// What nobody looks at is refused, with its place.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for schema, want := range map[string]string{
		`{`:                            "is not JSON",
		`true`:                         "must be an object",
		`{"requird":["a"]}`:            `keyword "requird"`,
		`{"$ref":"#/x"}`:               `keyword "$ref"`,
		`{"type":"text"}`:              "type must be one of object",
		`{"type":[]}`:                  "type must be one of object",
		`{"properties":{"a":{"b":1}}}`: `a: keyword "b"`,
		`{"items":{"items":3}}`:        "items.items: must be an object",
		`{"minLength":-1}`:             "minLength must be a whole number",
		`{"minimum":"1"}`:              "minimum must be a number",
		`{"pattern":"("}`:              "pattern must be a regular expression",
		`{"enum":[]}`:                  "enum must be a list",
		strings.Repeat(`{"items":`, 40) + `{}` + strings.Repeat(`}`, 40): "more than 32 deep",
		`{"title":"` + strings.Repeat("x", MaxBytes) + `"}`:              "at most 32768",
	} {
		if _, err := Parse(schema); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", schema, err, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"items":{"minimum":1}}}}`, `{"a":[1,2]}`)
	fuzzed.Run(f, func(t *testing.T, schema, payload string) {
		s, err := Parse(schema)
		if err != nil {
			return
		}
		if a, b := s.Check([]byte(payload)), s.Check([]byte(payload)); !slices.Equal(a, b) {
			t.Errorf("%q, then %q", a, b)
		}
	})
}
