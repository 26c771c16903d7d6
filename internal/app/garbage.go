package app

import (
	"context"
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"
)

// The collector of a node with tens of thousands of minions has a great deal to
// look at, and it likes to begin amid the very burst of orders that fills its
// heap. So the node collects what a burst has left behind once it is quiet, and
// the next burst finds its heap empty.
const (
	// collectEvery is how often the node looks whether it is quiet.
	collectEvery = time.Second
	// quietShare is up to which share of one processor the node counts as quiet.
	quietShare = 0.25
	// smallHeap is up to which size a heap is collected in no time at all.
	smallHeap = 128 << 20
)

// heapUse is the heap in bytes, and the processor time that the node has used.
type heapUse struct {
	// live is what the last collection left, used what is in use since then, and
	// goal where the next one begins by itself.
	live, used, goal uint64
	processor        time.Duration
}

// worthCollecting reports whether a node that has come from before to now within
// collectEvery is quiet, and has filled a quarter of its heap's room.
func worthCollecting(before, now heapUse) bool {
	if now.processor-before.processor > time.Duration(quietShare*float64(collectEvery)) {
		return false
	}
	return now.used > smallHeap && now.goal > now.live && now.used > now.live+(now.goal-now.live)/4
}

func readHeap() heapUse {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/goal:bytes"}}
	metrics.Read(samples)
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // it cannot fail
	return heapUse{
		live: samples[0].Value.Uint64(), used: samples[1].Value.Uint64(), goal: samples[2].Value.Uint64(),
		processor: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
	}
}

// collectWhenQuiet collects garbage while the node has nothing to do, until ctx
// ends.
func collectWhenQuiet(ctx context.Context) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for before := readHeap(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := readHeap()
		if worthCollecting(before, now) {
			runtime.GC()
			now = readHeap()
		}
		before = now
	}
}
