package peers

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// one is a cluster of one peer.
type one struct{}

func (one) Members() []etcdkv.Member { return []etcdkv.Member{{Node: "peer", Incarnation: "i"}} }
func (o one) Member(n job.NodeID) (etcdkv.Member, bool) {
	return o.Members()[0], n == "peer"
}

// A peer is out of reach after so many silences over so long a time, however fast they
// come, and is back with the first answer.
func TestSilenceMakesAPeerUnreachable(t *testing.T) {
	t.Parallel()
	silence := context.DeadlineExceeded
	for name, tc := range map[string]struct {
		errs  []error
		apart time.Duration
		want  bool
	}{
		"silent":           {[]error{silence, silence, silence}, probeTimeout + soonAgain, true},
		"twice":            {[]error{silence, silence}, time.Second, false},
		"for a moment":     {[]error{syscall.EHOSTUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTUNREACH}, 200 * time.Millisecond, false},
		"for longer":       {[]error{syscall.EHOSTUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTUNREACH}, silentFor / 2, true},
		"with an answer":   {[]error{silence, silence, nil, silence, silence}, time.Second, false},
		"back":             {[]error{silence, silence, silence, nil}, time.Second, false},
		"refuses and dead": {[]error{nil, syscall.ECONNREFUSED, syscall.ECONNREFUSED}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := New(Config{Node: "me", Every: 200 * time.Millisecond}, Deps{Members: one{}, Logger: zap.NewNop()})
				s := &peer{node: "peer"}
				p.state["i"] = s
				for i, err := range tc.errs {
					if i > 0 {
						time.Sleep(tc.apart)
					}
					p.note(s, err)
				}
				last := tc.errs[len(tc.errs)-1]
				if got := p.OutOfReach("peer"); got != tc.want || got != (len(p.Unreachable()) == 1) {
					t.Errorf("out of reach: %v (%v), want %v", got, p.Unreachable(), tc.want)
				}
				if got := p.Suspect("peer"); got != errors.Is(last, syscall.ECONNREFUSED) {
					t.Errorf("dead: %v after %v", got, last)
				}
			})
		})
	}
}
