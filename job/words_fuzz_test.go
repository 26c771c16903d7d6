package job

import (
	"encoding/json"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzWords: names, references, tokens, sizes and the like, which come from files, flags
// and requests: what is read is written so that it is read as the same.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{"", "a", "ops/backup", "ops/backup@3", "01890a5d-ac96-774b-bcce-b302099a8057", "1.2", "-1.-2", "512Mi", "9223372036854775807", "0.5", "250m", "10%", "100%", "NaN%", "1h30m", "schedule"} {
		f.Add(seed)
	}
	fuzzed.Run(f, func(t *testing.T, text string) {
		if k, err := ParseKey(text); err == nil {
			if again, err := ParseKey(k.String()); err != nil || again != k {
				t.Errorf("key %q: %v, %v", text, again, err)
			}
		}
		if r, err := ParseScriptRef(text, "ns"); err == nil {
			if again, err := ParseScriptRef(r.String(), "other"); err != nil || again != r {
				t.Errorf("script %q: %v, %v", text, again, err)
			}
		}
		if u, err := ParseUID(text); err == nil {
			if again, err := ParseUID(u.String()); err != nil || again != u {
				t.Errorf("uid %q: %v, %v", text, again, err)
			}
		}
		if v, err := ParseToken(text); err == nil {
			if again, err := ParseToken(v.String()); err != nil || again != v {
				t.Errorf("token %q: %v, %v", text, again, err)
			}
		}
		if k, err := ParseTrigger(text); err == nil && k.String() != text {
			t.Errorf("trigger %q is %s", text, k)
		}
		if a, err := ParseAmount(text); err == nil {
			if n := a.Of(1000, 1); n < 0 || a.AtLeast(1000) < 0 || n > 1000 && a[len(a)-1] == '%' {
				t.Errorf("amount %q: %d of 1000", text, n)
			}
		}
		var s Size
		if s.UnmarshalText([]byte(text)) == nil {
			var again Size
			if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s || s < 0 {
				t.Errorf("size %q: %d, %d, %v", text, s, again, err)
			}
		}
		var c Cores
		if c.UnmarshalText([]byte(text)) == nil {
			var again Cores
			if err := again.UnmarshalText([]byte(c.String())); err != nil || again != c || c < 0 {
				t.Errorf("processors %q: %d, %d, %v", text, c, again, err)
			}
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var d Duration
		if d.UnmarshalJSON(quoted) == nil {
			var again Duration
			if written, err := d.MarshalJSON(); err != nil || again.UnmarshalJSON(written) != nil || again != d {
				t.Errorf("duration %q: %s, %s", text, d, again)
			}
		}
		_ = RunID(text).Valid()
	})
}
