package doctor

import (
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/carillon-cron/carillon/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckSize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		size, quota int64
		want        api.CheckStatus
	}{{59, 100, api.CheckOK}, {60, 100, api.CheckWarn}, {79, 100, api.CheckWarn}, {80, 100, api.CheckFail}, {1 << 30, 0, api.CheckOK}, {2 << 30, 0, api.CheckFail}} {
		if got := checkSize("e", tc.size, tc.quota); got.Status != tc.want {
			t.Errorf("%d of %d: %+v", tc.size, tc.quota, got)
		}
	}
}

func TestCheckVersion(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]api.CheckStatus{"3.4.30": api.CheckWarn, "3.5.0": api.CheckOK, "3.7.3": api.CheckOK, "4.0.0-rc.1": api.CheckOK, "": api.CheckWarn} {
		if got := checkVersion("e", v); got.Status != want {
			t.Errorf("%q: %+v", v, got)
		}
	}
}

// TestUnreachedEndpoint: endpoints of a cluster that keeps its data itself are its members.
func TestUnreachedEndpoint(t *testing.T) {
	t.Parallel()
	for own, want := range map[bool]string{false: "take it out of the endpoints", true: "carillon etcd remove"} {
		if ch := unreached("https://n1:7480", errors.New("away"), own); !strings.Contains(ch.Hint, want) || strings.Contains(ch.Hint, "endpoints") == own {
			t.Errorf("own %v: %q", own, ch.Hint)
		}
	}
}
