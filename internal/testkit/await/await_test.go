package await

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// run is a test whose run ends soon. It keeps what its failure says.
type run struct {
	*testing.T

	end  time.Time
	said string
}

func (r *run) Deadline() (time.Time, bool) { return r.end, true }

func (r *run) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	panic(r)
}

func TestWaits(t *testing.T) {
	t.Parallel()
	looks := 0
	Until(t, "the third look", func() bool { looks++; return looks == 3 })
	Missing(t, func() string {
		if looks++; looks < 6 {
			return "looks"
		}
		return ""
	})
	c := make(chan int)
	go func() { c <- looks }()
	if got := From(t, "the looks", c); got != 6 {
		t.Errorf("looked %d times, want 6", got)
	}
}

// TestHang: what never comes about is told before the run's limit, with the stacks.
func TestHang(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(T){
		"until":   func(t T) { Until(t, "the impossible", func() bool { return false }) },
		"missing": func(t T) { Missing(t, func() string { return "the impossible" }) },
		"from":    func(t T) { From(t, "the impossible", make(chan int)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &run{T: t, end: time.Now().Add(100 * time.Millisecond)}
			func() {
				defer func() { _ = recover() }()
				wait(r)
			}()
			if !strings.Contains(r.said, "the impossible") || !strings.Contains(r.said, "await.TestHang") {
				t.Errorf("the failure says %q, want what is waited for, and the stacks", r.said)
			}
		})
	}
}
