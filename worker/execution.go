package worker

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
	"github.com/carillon-cron/carillon/worker/wal"
)

// execution has tasks started: it gives them places, and hands those that have one
// to the shim or to Go handlers, once their scripts are here.
type execution struct {
	*base
	tasks     *tasks
	reporting *reporting
	commands  *commands
	handlers  *handlers
	scripts   *scripts
	// finding are the goroutines that find out secrets; findable has room for those
	// that may at a time.
	finding  sync.WaitGroup
	findable chan struct{}
}

// startChunk bounds how many commands one message to the shim starts.
const startChunk = 32

// intent returns the record that says that the task is handed to the shim next.
func (e *entry) intent() *record {
	return &record{Kind: kindIntent, Task: &e.key, Instance: e.instance, Boot: e.boot}
}

// run hands tasks to the shim.
func (ex *execution) run(ctx context.Context) {
	defer ex.finding.Wait()
	for {
		select {
		case <-ctx.Done():
			ex.handOver(context.WithoutCancel(ctx), ctx) // whose intent is durable
			return
		case <-ex.tasks.startWake:
		}
		if err := ex.promote(); err != nil {
			ex.fail(err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
				notify(ex.tasks.startWake)
				continue
			}
		}
		ex.handOver(ctx, ctx)
	}
}

// promote gives free places to waiting tasks, durably.
func (ex *execution) promote() error {
	ex.tasks.mu.Lock()
	var batch wal.Batch
	var got []*entry
	var back []*job.Report
	var err error
	for !ex.tasks.stopping && ex.tasks.places.active < ex.cfg.MaxRunning && ex.tasks.client != nil && err == nil {
		e := ex.tasks.places.first()
		if e == nil {
			break
		}
		if why := ex.tasks.overdue(e); why != "" {
			if len(ex.tasks.places.renewals.asked) >= ex.cfg.MaxRunning-ex.tasks.places.active {
				break // as many are on their way as there is room for
			}
			ex.tasks.places.dropFirst()
			back = append(back, ex.tasks.returned(e, why))
			continue
		}
		ex.tasks.places.dropFirst()
		ex.tasks.places.count(e)
		e.phase, e.instance, e.boot = phaseIntent, ex.tasks.starter(e), ex.boot
		got = append(got, e)
		batch, err = ex.tasks.journal.add(e.intent())
	}
	ex.tasks.mu.Unlock()
	ex.reporting.settle(back)
	if err == nil {
		err = ex.reporting.sync(batch)
	}
	ex.tasks.mu.Lock()
	defer ex.tasks.mu.Unlock()
	if err != nil {
		for _, e := range got {
			e.phase = phaseAccepted
			ex.tasks.places.free(e)
		}
		ex.tasks.places.waiting.putBack(got...)
		return err
	}
	ex.tasks.places.ready.push(got...)
	return nil
}

// handOver tells the shim to start what is ready. Finding is for finding out secrets.
func (ex *execution) handOver(ctx, finding context.Context) {
	for ctx.Err() == nil {
		ex.tasks.mu.Lock()
		client := ex.tasks.client
		if client == nil || ex.tasks.places.ready.len() == 0 {
			ex.tasks.mu.Unlock()
			return
		}
		chunk := ex.tasks.places.ready.take(startChunk)
		orders := make([]*job.Order, len(chunk))
		var back []*job.Report
		for i, e := range chunk {
			if why := ex.tasks.overdue(e); why != "" && e.settling == nil {
				back = append(back, ex.tasks.returned(e, why))
				continue // the order stays nil, as of what was cancelled meanwhile
			}
			orders[i] = e.order
		}
		ex.tasks.mu.Unlock()
		ex.reporting.settle(back)

		chunk, orders = ex.withSecrets(finding, chunk, orders)
		chunk, orders = ex.handOverToHandlers(chunk, orders)
		chunk, orders = ex.withTexts(chunk, orders)
		specs := make([]shim.Spec, len(chunk))
		var failures []*job.Report
		for i, e := range chunk {
			if orders[i] == nil {
				continue // cancelled meanwhile
			}
			var err error
			if specs[i], err = ex.commands.prepare(orders[i]); err != nil {
				specs[i].Key = ""
				now := time.Now().UTC()
				failures = append(failures, &job.Report{
					Task: e.key.id(ex.cfg.ID), Shard: e.shard, Known: true, State: job.StateRejected,
					Reason: err.Error(), EndedAt: now, Spooled: true,
				})
			}
		}
		ex.crash("intent")
		ex.send(client, chunk, specs)
		ex.crash("handed")
		if len(failures) > 0 {
			ex.reporting.settle(failures)
		}
	}
}

// withTexts returns those tasks whose scripts are here; the others wait.
func (ex *execution) withTexts(chunk []*entry, orders []*job.Order) ([]*entry, []*job.Order) {
	var here []*entry
	var theirs []*job.Order
	for i, e := range chunk {
		if orders[i] != nil {
			if len(ex.scripts.missing(orders[i])) > 0 {
				ex.park(e, orders[i])
				continue
			}
		}
		here, theirs = append(here, e), append(theirs, orders[i])
	}
	return here, theirs
}

// handOverToHandlers starts what Go handlers run, and returns the rest.
func (ex *execution) handOverToHandlers(chunk []*entry, orders []*job.Order) ([]*entry, []*job.Order) {
	var ours, rest []*entry
	var oursOrders, restOrders []*job.Order
	for i, e := range chunk {
		if handled(orders[i]) {
			ours, oursOrders = append(ours, e), append(oursOrders, orders[i])
		} else {
			rest, restOrders = append(rest, e), append(restOrders, orders[i])
		}
	}
	if len(ours) > 0 {
		ex.handlers.start(ours, oursOrders)
	}
	return rest, restOrders
}

// send passes specs to the shim, without those whose tasks have ended.
func (ex *execution) send(client *shim.Client, chunk []*entry, specs []shim.Spec) {
	var out []shim.Spec
	ex.tasks.mu.Lock()
	if ex.tasks.client != client {
		// Another shim by now: nothing was handed over, so all are ready still.
		ex.tasks.places.ready.putBack(chunk...)
		ex.tasks.mu.Unlock()
		notify(ex.tasks.startWake)
		return
	}
	for i, e := range chunk {
		if specs[i].Key == "" || e.settling != nil || e.final != nil {
			continue
		}
		e.phase, e.instance, e.found = phaseHanded, ex.tasks.shimID, nil
		out = append(out, specs[i])
	}
	ex.tasks.mu.Unlock()
	if len(out) == 0 {
		return
	}
	if err := client.Start(out); err != nil {
		// What became of them is found out by the next attach.
		ex.log.Warn("commands were not handed over", zap.Error(err))
	}
}
