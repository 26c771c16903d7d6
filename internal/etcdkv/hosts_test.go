package etcdkv

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// TestHosts: what is written is read again, few or many; and 100,000 names leave
// room in what etcd takes, which is 1.5 MiB.
func TestHosts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, packHostsFrom - 1, packHostsFrom, 100_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			want := Trigger{Schema: 1, Fire: job.FireID{Trigger: job.TriggerRedo}}
			for i := range n {
				want.Hosts = append(want.Hosts, job.MinionID(fmt.Sprintf("web-%06d.rack%02d.example.com", i, i%40)))
			}
			text, err := Encode(want)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > 1<<20 {
				t.Errorf("%d hosts take %d bytes", n, len(text))
			}
			got, err := Decode[Trigger]("k", []byte(text))
			if err != nil || !slices.Equal(got.Hosts, want.Hosts) {
				t.Errorf("read %d hosts (%v), want %d", len(got.Hosts), err, n)
			}
			var before struct {
				Hosts []job.MinionID `json:"hosts"`
			}
			// A release that knows lists only must not read none at all.
			if err := json.Unmarshal([]byte(text), &before); n > 0 && err == nil && len(before.Hosts) != n {
				t.Errorf("a list of %d was read, want %d or an error", len(before.Hosts), n)
			}
		})
	}
}

// TestHostsDamaged: a text that is damaged is an error.
func TestHostsDamaged(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`"no base64"`, `"bm8genN0ZA=="`, `{}`} {
		var h Hosts
		if err := json.Unmarshal([]byte(text), &h); err == nil {
			t.Errorf("%s was read as %v", text, h)
		}
	}
}
