package members

import (
	"errors"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/members/roster"
	"github.com/carillon-cron/carillon/job"
)

// The table of doc.go, row by row, and with it I2: a change that another one is in the
// way of waits.
func TestTableOfSteps(t *testing.T) {
	t.Parallel()
	member := func(id roster.ID, name string) roster.Member {
		return roster.Member{ID: id, Name: name, PeerURLs: []string{"https://" + name}}
	}
	added := roster.Member{ID: 3, PeerURLs: []string{"https://c"}, Learner: true}
	learner := added
	learner.Name = "c"
	a, b, c := member(1, "a"), member(2, "b"), member(3, "c")
	moved := c
	moved.PeerURLs = []string{"https://elsewhere"}
	for name, tc := range map[string]struct {
		own             roster.ID
		running, wanted bool
		all             []roster.Member
		want            step
		why             string
	}{
		"client":                      {all: []roster.Member{a, b}, want: stepNone},
		"joining":                     {wanted: true, all: []roster.Member{a, b}, want: stepAdd},
		"joining, full":               {wanted: true, all: []roster.Member{a, b, member(4, "d"), member(5, "e"), member(6, "f")}, want: stepWait, why: "5 members already"},
		"joining, another learner":    {wanted: true, all: []roster.Member{a, {ID: 9, Name: "x", Learner: true}}, want: stepWait, why: "another member joins: x"},
		"joining, another unstarted":  {wanted: true, all: []roster.Member{a, {ID: 9, PeerURLs: []string{"https://x"}}}, want: stepWait, why: "has not started: 9[https://x]"},
		"added":                       {wanted: true, all: []roster.Member{a, added}, want: stepStart},
		"added, ended while it began": {own: 3, wanted: true, all: []roster.Member{a, added}, want: stepStart},
		"learner":                     {own: 3, running: true, wanted: true, all: []roster.Member{a, learner}, want: stepPromote},
		"member":                      {own: 3, running: true, wanted: true, all: []roster.Member{a, b, c}, want: stepNone},
		"member, its etcd ended":      {own: 3, wanted: true, all: []roster.Member{a, b, c}, want: stepStart},
		"member, at another address":  {own: 3, running: true, wanted: true, all: []roster.Member{a, b, moved}, want: stepMove},
		"lost":                        {wanted: true, all: []roster.Member{a, b, c}, want: stepReplace},
		"lost, moved":                 {wanted: true, all: []roster.Member{a, b, moved}, want: stepReplace},
		"removed":                     {own: 3, wanted: true, all: []roster.Member{a, b}, want: stepDiscard},
		"removed, and made anew":      {own: 3, wanted: true, all: []roster.Member{a, b, member(7, "c")}, want: stepDiscard},
		"leaving":                     {own: 3, running: true, all: []roster.Member{a, b, c}, want: stepLeave},
		"leaving, lost":               {all: []roster.Member{a, b, c}, want: stepLeave},
	} {
		s := standing{node: "c", peerURL: "https://c", own: tc.own, running: tc.running, wanted: tc.wanted, all: tc.all, most: 5}
		if got, _, why := s.next(); got != tc.want || !strings.Contains(why, tc.why) || (why == "") != (tc.why == "") {
			t.Errorf("%s: %s %q, want %s %q", name, got, why, tc.want, tc.why)
		}
	}
}

func TestI4_AMajorityIsKept(t *testing.T) {
	t.Parallel()
	voter := func(id roster.ID) roster.Member { return roster.Member{ID: id, Name: id.String()} }
	for name, tc := range map[string]struct {
		all  []roster.Member
		gone roster.ID
		live map[roster.ID]bool
		ok   bool
	}{
		"the last one":                   {[]roster.Member{voter(1)}, 1, map[roster.ID]bool{1: true}, false},
		"the last one beside a learner":  {[]roster.Member{voter(1), {ID: 2, Learner: true}}, 1, map[roster.ID]bool{1: true, 2: true}, false},
		"a learner":                      {[]roster.Member{voter(1), {ID: 2, Learner: true}}, 2, map[roster.ID]bool{1: true}, true},
		"one of two":                     {[]roster.Member{voter(1), voter(2)}, 2, map[roster.ID]bool{1: true, 2: true}, true},
		"a dead one of three":            {[]roster.Member{voter(1), voter(2), voter(3)}, 3, map[roster.ID]bool{1: true, 2: true}, true},
		"a live one beside a dead one":   {[]roster.Member{voter(1), voter(2), voter(3)}, 2, map[roster.ID]bool{1: true, 2: true}, false},
		"a live one of five, two dead":   {[]roster.Member{voter(1), voter(2), voter(3), voter(4), voter(5)}, 3, map[roster.ID]bool{1: true, 2: true, 3: true}, false},
		"a dead one of five, two dead":   {[]roster.Member{voter(1), voter(2), voter(3), voter(4), voter(5)}, 5, map[roster.ID]bool{1: true, 2: true, 3: true}, true},
		"one that is none, all the same": {[]roster.Member{voter(1), voter(2)}, 7, map[roster.ID]bool{1: true, 2: true}, true},
	} {
		err := roster.KeepsMajority(tc.all, tc.gone, func(m roster.Member) bool { return tc.live[m.ID] })
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, job.ErrConflict) {
			t.Errorf("%s: %v, want ok %v", name, err, tc.ok)
		}
	}
}
