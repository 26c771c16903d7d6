package scheduler

import (
	"fmt"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

// TestOrdersAreNotCopied: an order stays where it was put, however many come after
// it, and all come out in their order.
func TestOrdersAreNotCopied(t *testing.T) {
	t.Parallel()
	const many = 100_000
	for _, tasks := range []int{1, 100, many} {
		var o orders
		at := make([]*job.Order, many)
		for i := range many {
			o.add(job.Order{Shard: job.ShardID(i)}, tasks)
			last := o[len(o)-1]
			at[i] = &last[len(last)-1]
		}
		n := 0
		for _, piece := range o {
			for i := range piece {
				if &piece[i] != at[n] || int(piece[i].Shard) != n {
					t.Fatalf("order %d of fires with %d tasks was copied, or is order %d", n, tasks, piece[i].Shard)
				}
				n++
			}
		}
		if n != many {
			t.Errorf("%d orders came out, want %d", n, many)
		}
	}
}

// BenchmarkOrders: an order that is added costs the same when 1 and when 100,000
// are there.
func BenchmarkOrders(b *testing.B) {
	for _, waiting := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			var x job.Order
			b.ReportAllocs()
			for range b.N / waiting {
				var o orders
				for range waiting {
					o.add(x, 1)
				}
			}
		})
	}
}
