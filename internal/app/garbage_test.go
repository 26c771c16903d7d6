package app

import (
	"testing"
	"time"
)

func TestCollectsWhenItIsWorthIt(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	full := heapUse{live: 400 * mb, used: 600 * mb, goal: 800 * mb, processor: time.Hour}
	for name, c := range map[string]struct {
		change func(before, now *heapUse)
		want   bool
	}{
		"quiet, with half of its room used": {func(_, _ *heapUse) {}, true},
		"busy":                              {func(before, _ *heapUse) { before.processor -= 300 * time.Millisecond }, false},
		"nearly empty":                      {func(_, now *heapUse) { now.used = 480 * mb }, false},
		"small": {func(_, now *heapUse) {
			*now = heapUse{live: 10 * mb, used: 20 * mb, goal: 20 * mb, processor: time.Hour}
		}, false},
		"goal behind what lives": {func(_, now *heapUse) { now.goal = 300 * mb }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, now := full, full
			c.change(&before, &now)
			if got := worthCollecting(before, now); got != c.want {
				t.Errorf("worthCollecting(%+v, %+v) = %t", before, now, got)
			}
		})
	}
}

func TestReadHeap(t *testing.T) {
	t.Parallel()
	if h := readHeap(); h.used == 0 || h.goal == 0 || h.processor <= 0 {
		t.Errorf("%+v: a name of a metric may be wrong", h)
	}
}
