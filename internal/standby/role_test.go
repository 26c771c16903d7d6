package standby

import (
	"bufio"
	"io"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

func newKV(key string, rev int64) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte(key), CreateRevision: rev, ModRevision: rev}
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// The table of the roles, as the package's comment has it.
func TestRoles(t *testing.T) {
	t.Parallel()
	then := &etcdkv.HoldThen{}
	for _, row := range []struct {
		hold          *etcdkv.Hold
		role          api.ClusterRole
		refuses, away bool
	}{
		{nil, api.RoleAlone, false, false},
		{&etcdkv.Hold{State: etcdkv.HoldStandby}, api.RoleStandby, true, true},
		{&etcdkv.Hold{State: etcdkv.HoldRestoring, Then: then}, api.RolePromoting, true, false},
		{&etcdkv.Hold{State: etcdkv.HoldRestored, Then: then}, api.RolePromoting, false, false},
		{&etcdkv.Hold{State: etcdkv.HoldHandedOver}, api.RoleHandedOver, true, true},
		{&etcdkv.Hold{State: etcdkv.HoldOvertaken}, api.RoleOvertaken, true, true},
		{&etcdkv.Hold{State: etcdkv.HoldRestored}, api.RoleRestored, false, false},
	} {
		var h *held
		if row.hold != nil {
			h = &held{Hold: *row.hold, state: row.hold.State}
		}
		if got := role(h); got != row.role || (Refuses(row.hold) != "") != row.refuses || (Away(row.hold) != "") != row.away || texts(got, "x") == "" {
			t.Errorf("%+v: %s, refuses %q, away %q", row.hold, got, Refuses(row.hold), Away(row.hold))
		}
	}
}
