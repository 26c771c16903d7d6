package target

import "testing"

// TestMissingNamesAreTold: names that a target spells out and no host has are told,
// but for those that it takes away again, or only might mean.
func TestMissingNamesAreTold(t *testing.T) {
	t.Parallel()
	hosts := map[string]bool{"w1": true, "web1": true, "web2": true}
	for text, want := range map[string]string{
		"w1,nope,web[1-5]":            "nope,web[3-5]",
		"w1":                          "",
		"web*":                        "",
		"web[a-c]":                    "",
		`"web 9" or w1`:               "web 9",
		"web[1-5]!web[3-9]":           "",
		"web[1-3]!w7":                 "web3",
		"not gone":                    "",
		"w1 and web9":                 "",
		`web9 and os == "linux"`:      "web9",
		"@saved":                      "",
		"web[1-100000]":               "",
		"web[1-2]^web[2-3]":           "web3",
		"(w1 or w2) and not (w3, w4)": "w2",
	} {
		m, err := MustParse(text).Bind(Groups{"saved": MustParse("gone")})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Missing(func(name string) bool { return hosts[name] }); got.String() != want {
			t.Errorf("%s: missing %q, want %q", text, got.String(), want)
		}
	}
}
