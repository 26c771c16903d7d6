package intake

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// I5: who sends a byte now and then is cut, and who sends much over a long time is not.
func TestTrickle(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		piece  int
		within time.Duration // 0: it is not cut
	}{
		"a byte a second":    {1, paceGrace + 2*time.Second},
		"half of the rate":   {paceRate / 2, 2*paceGrace + 2*time.Second},
		"more than the rate": {paceRate + 1024, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			defer there.Close()
			const all = 5 * time.Minute
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer there.Close()
				for range int(all / time.Second) {
					time.Sleep(time.Second)
					if _, err := there.Write(make([]byte, c.piece)); err != nil {
						return
					}
				}
			}()
			begun := time.Now()
			p := &paced{Conn: here}
			var err error
			for b := make([]byte, 64<<10); err == nil; {
				_, err = p.Read(b)
			}
			took := time.Since(begun)
			if c.within > 0 && took > c.within || c.within == 0 && took < all {
				t.Errorf("%s: it ended after %s by %v", name, took, err)
			}
			_ = here.Close()
			<-done
		})
	}
}

// I5: one address does not keep all others out, and room comes back.
func TestRoom(t *testing.T) {
	t.Parallel()
	var r room
	var frees []func()
	fill := func(ip string) (n int) {
		for ; ; n++ {
			free, ok := r.take(&net.TCPAddr{IP: net.ParseIP(ip), Port: 1000 + n})
			if !ok {
				return n
			}
			frees = append(frees, free)
		}
	}
	if n := fill("192.0.2.1"); n != maxConnsOf {
		t.Errorf("one address has %d", n)
	}
	if n := fill("2001:db8::1"); n != maxConnsOf {
		t.Errorf("another has %d", n)
	}
	if n := fill("2001:db8::2"); n != 0 || len(frees) != maxConns {
		t.Errorf("its network has %d more, %d in all", n, len(frees))
	}
	for _, free := range frees {
		free()
	}
	if r.all != 0 || len(r.of) != 0 {
		t.Errorf("left: %d, %v", r.all, r.of)
	}
}
