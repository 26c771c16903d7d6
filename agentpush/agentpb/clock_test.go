package agentpb

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// TestAheadIsABound: however long messages take, and as far as clocks drift apart
// that run within maxDrift of one another, a lease does not end later on the
// reader's clock than it does on the owner's.
func TestAheadIsABound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		offset := time.Duration(rapid.Int64Range(-int64(1000*time.Hour), int64(1000*time.Hour)).Draw(rt, "offset"))
		drift := rapid.Float64Range(-maxDrift, maxDrift).Draw(rt, "drift") * 0.999
		ours := 2000 * time.Hour
		theirs := func(at time.Duration) time.Duration {
			return at + offset + time.Duration(float64(at-2000*time.Hour)*drift)
		}
		var a Ahead
		if _, ok := a.Bound(ours); ok {
			rt.Fatal("it knows a bound of a clock that it has not heard of")
		}
		for range rapid.IntRange(1, 10).Draw(rt, "words") {
			sent := theirs(ours)
			ours += time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(rt, "on its way"))
			a.Heard(sent, ours)
			ours += time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "silence"))
			by, ok := a.Bound(ours)
			if !ok || by < ours-theirs(ours)-time.Microsecond {
				rt.Fatalf("ahead by %v at most, and it is %v", by, ours-theirs(ours))
			}
			until := Translate(int64(ours), proto.Int64(int64(by)))
			if time.Duration(until) > max(theirs(ours), 0)+time.Microsecond {
				rt.Fatalf("a lease that ends now ends at %v, and their clock shows %v", time.Duration(until), theirs(ours))
			}
		}
	})
	if Translate(5, nil) != 0 || Translate(0, proto.Int64(3)) != 0 || Translate(5, proto.Int64(30)) != 1 {
		t.Error("an end that is not known is none, and one that has passed is one")
	}
}
