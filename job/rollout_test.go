package job

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidateTellsWhatIsWrongWithCaps(t *testing.T) {
	t.Parallel()
	s := Spec{Command: []string{"x"}, Target: Target{Run: SpreadAll}, Rollout: Rollout{
		MaxPer:        map[string]int{"rack": 0, "site": 100_000},
		ClusterMaxPer: map[string]int{"a b": 1, "rack": 0, "room": MaxClusterBound, "site": MaxClusterBound + 1},
	}}
	var got []string
	for _, p := range s.Validate() {
		got = append(got, p.Path)
	}
	want := []string{"spec.rollout.maxPer.rack", "spec.rollout.clusterMaxPer.a b", "spec.rollout.clusterMaxPer.rack", "spec.rollout.clusterMaxPer.site"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	s.Target.Run, s.Rollout = SpreadOne, Rollout{ClusterMaxPer: map[string]int{"rack": 1}}
	if p := s.Validate(); len(p) != 1 || p[0].Path != "spec.rollout" {
		t.Errorf("a run on one minion has the problems %v, want that it has a rollout", p)
	}
}
