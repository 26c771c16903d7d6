package worker

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
	"github.com/carillon-cron/carillon/worker/wal"
)

// reporting makes last reports durable, and keeps them until a node has
// acknowledged them.
type reporting struct {
	*base
	tasks *tasks
}

// settle makes final reports durable, then tells them, and has the shim forget
// the commands.
func (rp *reporting) settle(reports []*job.Report) {
	if len(reports) == 0 {
		return
	}
	var batch wal.Batch
	var err error
	entries := make([]*entry, 0, len(reports))
	rp.tasks.mu.Lock()
	for _, r := range reports {
		e := rp.tasks.journal.settle(r)
		if e == nil {
			continue
		}
		if n := outputSize(r); n > 0 && rp.tasks.out.spooled+n > spoolBytes {
			withoutOutput(r)
		}
		entries = append(entries, e)
		var b wal.Batch
		if b, err = rp.tasks.journal.add(&record{Kind: kindEnded, Report: r}); err != nil {
			break
		}
		batch = b
	}
	rp.tasks.mu.Unlock()
	if err == nil {
		err = rp.sync(batch)
	}
	rp.crash("ended")
	rp.tasks.mu.Lock()
	client := rp.tasks.client
	// The shim may forget only what is durable here: that it does not know a
	// key means that it never started it. It is told before anybody else: what is
	// given back may be ordered again, and handed over, as soon as it is told.
	var keys []string
	for _, r := range reports {
		key := keyOf(r.Task)
		if e := rp.tasks.journal.live[key]; e == nil || e.final != nil || e.settling != nil && err == nil {
			keys = append(keys, key.String())
		}
	}
	rp.tasks.mu.Unlock()
	rp.forget(client, keys)
	rp.tasks.mu.Lock()
	rp.commit(entries, err)
	rp.tasks.mu.Unlock()
	rp.crash("told")
	if err != nil {
		rp.fail(err)
	}
}

// withoutOutput drops the output that a report carries; its file has it.
func withoutOutput(r *job.Report) {
	for _, o := range []*job.Output{&r.Stdout, &r.Stderr} {
		*o = job.Output{Bytes: o.Bytes, Truncated: o.Bytes > 0}
	}
}

// commit ends what settle has made durable. The caller holds mu. After an
// error the reports are tried again later.
func (rp *reporting) commit(entries []*entry, err error) {
	for _, e := range entries {
		if err != nil {
			if diskFull(err) {
				withoutOutput(e.settling) // rather less output than no result
			}
			rp.tasks.journal.unsettled = append(rp.tasks.journal.unsettled, e.settling)
			e.settling = nil
			continue
		}
		rp.tasks.texts.leave(e)
		if e.settling.Returned {
			rp.tasks.journal.giveBack(e)
			rp.tasks.places.free(e)
			rp.metrics.tasks.WithLabelValues("returned").Inc()
			rp.tasks.out.answer(e.settling)
			continue
		}
		rp.tasks.journal.end(e)
		rp.tasks.places.free(e)
		rp.tasks.out.spooled += outputSize(e.final)
		rp.metrics.tasks.WithLabelValues(string(e.final.State)).Inc()
		rp.tasks.out.tell(e)
	}
	notify(rp.tasks.startWake)
}

func (rp *reporting) forget(client *shim.Client, keys []string) {
	if client == nil || len(keys) == 0 {
		return
	}
	if err := client.Forget(keys); err != nil {
		rp.log.Debug("shim was not told to forget", zap.Error(err))
	}
}

// acked drops reports that a node has made durable. The record of it is not
// waited for: without it the report is sent once more.
func (rp *reporting) acked(ack *agentpb.Ack) {
	rp.tasks.mu.Lock()
	defer rp.tasks.mu.Unlock()
	now := time.Now().UnixNano()
	for _, t := range ack.GetTasks() {
		id, err := agentpb.ToTask(t, rp.cfg.ID)
		if err != nil {
			rp.log.Warn("acknowledgement cannot be read", zap.Error(err))
			continue
		}
		key := keyOf(id)
		e := rp.tasks.journal.live[key]
		if e == nil || e.final == nil {
			continue
		}
		rp.tasks.out.spooled -= outputSize(e.final)
		rp.tasks.journal.ack(key, now)
		if _, err := rp.tasks.journal.add(&record{Kind: kindAcked, Task: &key, At: now}); err != nil {
			rp.log.Warn("acknowledgement not journaled", zap.Error(err))
		}
	}
}

// sync makes a batch of the journal durable.
func (rp *reporting) sync(b wal.Batch) error {
	if b == 0 {
		return nil
	}
	begin := time.Now()
	err := rp.tasks.journal.sync(b)
	rp.metrics.syncTime.Observe(time.Since(begin).Seconds())
	return err
}

// probeJournal finds out whether a journal that could not be written, or has
// come to its limit, is well again: no order may come that would show it.
func (rp *reporting) probeJournal() {
	rp.tasks.mu.Lock()
	over := rp.tasks.journal.over()
	rp.tasks.mu.Unlock()
	rp.troubles.set(&rp.troubles.limit, over, TroubleJournalFull)
	if !rp.troubles.journalBroken() {
		return
	}
	rp.tasks.mu.Lock()
	batch, err := rp.tasks.journal.add(&record{Kind: kindProbe, Reason: strings.Repeat(" ", probeBytes)})
	rp.tasks.mu.Unlock()
	if err == nil {
		err = rp.sync(batch)
	}
	switch {
	case err == nil:
		rp.troubles.journalWorks()
		rp.log.Info("the journal can be written again")
	case fatal(err):
		rp.fail(err)
	}
}
