package release

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFactsAreReadBack(t *testing.T) {
	t.Parallel()
	for _, f := range []Facts{
		{}, {On: true}, {Release: 7}, {On: true, Release: 7, Failed: 8, Reason: "8: crashed: again"}, {Failed: 1},
	} {
		if diff := cmp.Diff(f, FactsOf(f.Map())); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(Facts{}, FactsOf(map[string]string{factUpdate: "yes", factRelease: "-1", factFailed: "x: y"})); diff != "" {
		t.Error(diff)
	}
}
