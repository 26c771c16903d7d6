package scheduler

import "github.com/carillon-cron/carillon/job"

// orders are those that a step of a shard makes, in pieces. An order is large, and a
// step may make 100,000: to add one costs the same however many there are, since none
// is copied to make room. Each piece has twice the room of the one before.
type orders [][]job.Order

// The first piece has room for the tasks of the fire that begins it, but for
// manyOrders at most; the second for fewOrders at least.
const (
	fewOrders  = 8
	manyOrders = 256
)

// add adds an order of a fire that has so many tasks.
func (o *orders) add(x job.Order, tasks int) {
	pieces := *o
	last := len(pieces) - 1
	if last < 0 || len(pieces[last]) == cap(pieces[last]) {
		size := min(max(tasks, 1), manyOrders)
		if last >= 0 {
			size = max(2*cap(pieces[last]), fewOrders)
		}
		pieces = append(pieces, make([]job.Order, 0, size))
		last++
	}
	pieces[last] = append(pieces[last], x)
	*o = pieces
}
