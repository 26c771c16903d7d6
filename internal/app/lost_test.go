package app

import (
	"fmt"
	"slices"
	"testing"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// A node that is not there is lost; where none of a site is there, the site is.
func TestLostNodes(t *testing.T) {
	t.Parallel()
	known := []etcdkv.KnownNode{{Node: "a", Site: "west"}, {Node: "b", Site: "west"}, {Node: "c", Site: "east"}, {Node: "d", Site: "east"}, {Node: "e"}}
	for _, test := range []struct {
		live []etcdkv.Member
		want []string
	}{
		{[]etcdkv.Member{{Node: "a", Site: "west"}, {Node: "b", Site: "west"}, {Node: "c", Site: "east"}, {Node: "d", Site: "east"}, {Node: "e"}}, nil},
		{[]etcdkv.Member{{Node: "a", Site: "west"}, {Node: "c", Site: "east"}, {Node: "d", Site: "east"}}, []string{"nodeLost b", "nodeLost e"}},
		{[]etcdkv.Member{{Node: "a", Site: "west"}, {Node: "b", Site: "west"}, {Node: "e"}}, []string{"siteLost east"}},
	} {
		var got []string
		for _, l := range lostNodes(known, test.live) {
			got = append(got, fmt.Sprintf("%s %s", l.Event, l.Name))
			if l.Why == "" || l.Event == job.AlertSiteLost && l.Why != "none of its 2 nodes is there" {
				t.Errorf("%+v", l)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("got %v, want %v", got, test.want)
		}
	}
}
