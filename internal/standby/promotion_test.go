package standby

import (
	"strings"
	"testing"
	"time"
)

// A time in whole seconds, as a clock on the wall or `date -u` shows it, means the end of that
// second.
func TestWhenTheActiveWasLost(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, "2026-11-30T21:"+s+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	copied, now := at("09:06.4"), at("09:30.25")
	for lost, want := range map[string]string{
		"09:06":    "09:06.999999999", // in the second of the copy
		"09:06.5":  "09:06.5",
		"09:10":    "09:10.999999999",
		"09:30":    "09:30.25", // in the second that it is now
		"09:06.39": "",
		"09:05":    "",
		"09:30.26": "",
		"09:31":    "",
	} {
		got, err := lostWithin(at(lost), copied, now)
		switch {
		case want != "" && (err != nil || !got.Equal(at(want))):
			t.Errorf("%s: %v, %v, want %s", lost, got, err, want)
		case want == "" && (err == nil || !strings.Contains(err.Error(), "between the copy (2026-11-30T21:09:06.4Z) and now (2026-11-30T21:09:30.25Z)")):
			t.Errorf("%s: %v, %v", lost, got, err)
		}
	}
	if got, err := lostWithin(time.Time{}, copied, now); err != nil || !got.IsZero() {
		t.Errorf("%v, %v", got, err)
	}
}
