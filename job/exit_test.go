package job

import "testing"

// TestSignalsAreExitCodes: an end by a signal is 128 and its number, where codes
// are compared.
func TestSignalsAreExitCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		exit Exit
		want int
	}{
		{Exit{Code: 3}, 3}, {Exit{Code: -1, Signal: "SIGKILL"}, 137}, {Exit{Code: -1, Signal: "SIGTERM"}, 143},
		{Exit{Code: -1, Signal: "SIGSEGV"}, 139}, {Exit{Code: -1, Signal: "SIG34"}, 162}, {Exit{Code: -1, Signal: "odd"}, -1},
	} {
		if got := c.exit.ShellCode(); got != c.want {
			t.Errorf("%+v: got %d, want %d", c.exit, got, c.want)
		}
		r := Retry{Attempts: 2, ExitCodes: []int{c.want}}
		if !r.Allows(StateFailed, &c.exit) {
			t.Errorf("%+v is not tried again on %d", c.exit, c.want)
		}
	}
}

// TestAttemptsAreBounded: the last ones are kept, and the others counted.
func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	var kept []Attempt
	left := 0
	for i := range MaxKeptAttempts + 3 {
		kept, left = KeepAttempt(kept, left, Attempt{Attempt: i + 1})
	}
	if len(kept) != MaxKeptAttempts || left != 3 || kept[0].Attempt != 4 {
		t.Errorf("%d kept from %d on, %d left out", len(kept), kept[0].Attempt, left)
	}
}
