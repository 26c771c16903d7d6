package scheduler

import (
	"fmt"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// A shard keeps the decoded specs of jobs that fire often, and a bounded number of
// others: those read last.
func TestSpecsKeepFew(t *testing.T) {
	t.Parallel()
	var k specs
	entries := make([]*entry, 3*keepDecoded)
	for i := range entries {
		entries[i] = &entry{key: job.Key{Name: fmt.Sprint(i)}, raw: fmt.Sprintf(`{"command":["%d"]}`, i)}
		if i%3 == 0 {
			entries[i].timer.Period = keepDecodedUnder
		}
	}
	for range 2 {
		for i, e := range entries {
			for range 2 {
				if spec, err := k.of(e); err != nil || spec.Command[0] != fmt.Sprint(i) {
					t.Fatalf("job %d: %v, %v", i, spec, err)
				}
			}
		}
		often, others := 0, 0
		for i, e := range entries {
			switch {
			case e.decoded == nil:
			case e.often():
				often++
			default:
				others++
				if i < len(entries)-2*keepDecoded {
					t.Errorf("job %d is still decoded", i)
				}
			}
		}
		if often != keepDecoded || others != keepDecoded {
			t.Errorf("%d that fire often are kept, and %d others; want %d of each", often, others, keepDecoded)
		}
	}
}
