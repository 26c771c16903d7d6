package doctor

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// Doctor names each node that keeps the others from signing, and what cures it: also one
// that is gone, and of which nobody would think.
func TestNodesThatKeepOthersFromSigning(t *testing.T) {
	t.Parallel()
	known := []etcdkv.KnownNode{{Node: "dead"}, {Node: "n1", Signs: true}, {Node: "n2"}}
	live := []etcdkv.Member{{Node: "n1", Signs: true}, {Node: "n2", Signs: true}, {Node: "n3"}}
	got := signatureChecks(known, live)
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []struct{ detail, hint string }{
		{"dead, which is gone and has not left in order, is of a release that does not sign", "`carillon nodes forget dead`"},
		{"n3 is of a release that does not sign", "bring n3 to the release of the other nodes"},
	} {
		if got[i].Status != api.CheckFail || !strings.Contains(got[i].Detail, want.detail) || !strings.Contains(got[i].Hint, want.hint) {
			t.Errorf("%+v\nwant %+v", got[i], want)
		}
	}
	if got := signatureChecks(known[1:], live[:2]); len(got) != 1 || got[0].Status != api.CheckOK {
		t.Errorf("where all can: %+v", got)
	}
}
