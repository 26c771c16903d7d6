package worker

import (
	"fmt"
	"sync"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
)

// The places for requests of tasks for shared state. A task holds taskShared of them at
// most, waiting and not waiting each; the tasks of an account accountShared with requests
// that wait, and all tasks waitShared: the others are for requests that do not wait, and so
// come free soon.
const (
	taskShared    = 64
	waitShared    = agentpb.MaxShared - 128
	accountShared = waitShared / 2
)

// sharedUse is who holds places: a task, or an account, with requests of one kind.
type sharedUse struct {
	task    taskKey
	account string
	waits   bool
}

// sharedPlaces counts requests under way.
type sharedPlaces struct {
	mu sync.Mutex
	// mu guards held, by task and by account, and all and waiting, of all of them.
	held         map[sharedUse]int
	all, waiting int
}

func newSharedPlaces() *sharedPlaces { return &sharedPlaces{held: map[sharedUse]int{}} }

// take takes a place for a request of a task, and returns what gives it back; nil: there is
// none, and why.
func (p *sharedPlaces) take(task taskKey, account string, waits bool) (leave func(), why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := sharedUse{task: task, waits: waits}
	of := sharedUse{account: "account " + account, waits: waits} // no task has such a key
	switch {
	case p.held[own] >= taskShared:
		return nil, fmt.Sprintf("the task asks for %d things already", taskShared)
	case waits && p.held[of] >= accountShared:
		return nil, fmt.Sprintf("the tasks of one account wait for %d things on this minion already", accountShared)
	case waits && p.waiting >= waitShared:
		return nil, fmt.Sprintf("the minion's tasks wait for %d things already", waitShared)
	case p.all >= agentpb.MaxShared:
		return nil, fmt.Sprintf("the minion's tasks ask for %d things already", agentpb.MaxShared)
	}
	p.add(own, of, 1)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.add(own, of, -1)
	}, ""
}

// add counts a request that begins or ends. The caller holds mu.
func (p *sharedPlaces) add(own, of sharedUse, n int) {
	p.all += n
	if own.waits {
		p.waiting += n
	}
	for _, u := range []sharedUse{own, of} {
		if p.held[u] += n; p.held[u] == 0 {
			delete(p.held, u)
		}
	}
}
