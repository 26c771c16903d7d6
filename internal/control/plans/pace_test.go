package plans

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/plan"
)

// dripping is a text that comes in pieces, each after a pause.
type dripping struct {
	left, piece int
	pause       time.Duration
	err         error // in place of the end
}

func (d *dripping) Read(b []byte) (int, error) {
	if d.left <= 0 {
		return 0, d.err
	}
	time.Sleep(d.pause)
	n := min(d.piece, d.left, len(b))
	d.left -= n
	for i := range b[:n] {
		b[i] = ' '
	}
	return n, nil
}

// TestSlowSenders: who sends a byte now and then is cut, and told why; who sends much over a
// long time, or pauses once, is not (4).
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text *dripping
		cut  bool
		// within is when it is cut at the latest.
		within time.Duration
	}{
		"a byte a second":                 {&dripping{left: 1 << 20, piece: 1, pause: time.Second, err: io.EOF}, true, senderGrace + 2*time.Second},
		"a byte each time it is too late": {&dripping{left: 1 << 20, piece: 1, pause: 29 * time.Second, err: io.EOF}, true, 30 * time.Second},
		"less than the rate":              {&dripping{left: 1 << 20, piece: senderRate / 2, pause: time.Second, err: io.EOF}, true, 3 * senderGrace},
		"more than the rate, for long":    {&dripping{left: 1 << 22, piece: senderRate + 1024, pause: time.Second, err: io.EOF}, false, 0},
		"one long pause":                  {&dripping{left: 10, piece: 10, pause: senderGrace - time.Second, err: io.EOF}, false, 0},
		"nothing any more":                {&dripping{err: os.ErrDeadlineExceeded}, true, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			_, err := io.Copy(io.Discard, &paced{from: c.text})
			var slow *caller.SlowError
			if cut := errors.As(err, &slow); cut != c.cut || !cut && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(begun); c.cut && took > c.within {
				t.Errorf("%s: cut after %s, want %s at most", name, took, c.within)
			}
		})
	}
	// A reader of plans tells of it, and of nothing that would be wrong with the plan.
	synctest.Test(t, func(t *testing.T) {
		_, err := plan.Read(&paced{from: &dripping{left: 1 << 20, piece: 1, pause: time.Second, err: io.EOF}}, plan.XML, plan.Options{}, nil)
		var slow *caller.SlowError
		if !errors.As(err, &slow) || !strings.Contains(err.Error(), "too slowly: 21 bytes in 21s") {
			t.Errorf("read a plan: %v", err)
		}
	})
	// What the node needs itself does not count.
	synctest.Test(t, func(t *testing.T) {
		p := &paced{from: strings.NewReader("<plan/>")}
		for b := make([]byte, 1); ; {
			if _, err := p.Read(b); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
	})
}
