package doctor

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
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

// Doctor names the connected minions that take what no node has signed, of each kind some
// that the caller may see, and what cures it.
func TestMinionsThatTakeUnsignedOrders(t *testing.T) {
	t.Parallel()
	minion := func(id job.MinionID, node job.NodeID, says string) job.Minion {
		m := job.Minion{ID: id, Node: node, Labels: map[string]string{"id": string(id)}, Facts: map[string]string{}}
		if says != "" {
			m.Facts[job.FactUnsignedOrders] = says
		}
		return m
	}
	all := []job.Minion{
		minion("good", "n1", job.UnsignedRefused), minion("gone", "", job.UnsignedAllowed), minion("until", "n1", job.UnsignedUntilSigned),
		minion("flag", "n1", job.UnsignedAllowed), minion("hidden", "n2", job.UnsignedAllowed), minion("ancient", "n2", ""),
	}
	sees := func(_ rights.Kind, _ string, labels map[string]string) bool {
		return labels["id"] != "hidden" && labels["id"] != "ancient"
	}
	got := unsignedMinions(all, sees)
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []struct{ detail, hint string }{
		{"orders without a signature are taken by 2 minions, by --unsigned-orders: flag, ...", "without that flag"},
		{"orders without a signature are taken by 1 minion until the first signed one comes", "`carillon exec -t until -- true`"},
		{"is not told by 1 minion of a former release", askWhoMay},
	} {
		if got[i].Status != api.CheckWarn || !strings.Contains(got[i].Detail, want.detail) || !strings.Contains(got[i].Hint, want.hint) {
			t.Errorf("%+v\nwant %+v", got[i], want)
		}
		if strings.Contains(got[i].Detail, "hidden") || strings.Contains(got[i].Detail+got[i].Hint, "ancient") {
			t.Errorf("tells a name that is not to be told: %+v", got[i])
		}
	}
	if got := unsignedMinions(all[:2], sees); len(got) != 0 {
		t.Errorf("where none does: %+v", got)
	}
}
