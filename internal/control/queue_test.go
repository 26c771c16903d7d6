package control

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

func queued(name string) manifest.Object {
	return manifest.Object{Kind: job.KindQueue, Metadata: job.Metadata{Namespace: "ops", Name: name}, Queue: job.QueueSpec{Command: []string{"true"}}}
}

// TestManyItemsAreEachPutOnce: an edit of the queue between the transactions of a put has
// only the items put anew that were not.
func TestManyItemsAreEachPutOnce(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, queued("q"))
	key := job.Key{Namespace: "ops", Name: "q"}
	items := make([]api.NewItem, api.MaxPut)
	for i := range items[50:] { // those without an id go first, many in a transaction
		items[50+i].ID = fmt.Sprint("item-", i)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		await.Until(t, "the first items", func() bool {
			v, err := e.Queue(t.Context(), key)
			return err == nil && v.Waiting > 0
		})
		if err := e.HoldQueue(t.Context(), key, api.QueuePause, api.Order{}); err != nil {
			t.Error(err)
		}
	})
	put, err := e.PutItems(t.Context(), key, items, api.Order{})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for i := range put {
		if ids[put[i].ID] = true; put[i].Duplicate {
			t.Errorf("item %d is told to be a duplicate", i)
		}
	}
	v, err := e.Queue(t.Context(), key)
	if err != nil || len(ids) != len(items) || v.Waiting != int64(len(items)) {
		t.Errorf("%d ids, %d items in the queue, %v; want %d", len(ids), v.Waiting, err, len(items))
	}
}

// TestNobodyTakesTheItemOfAnOccurrence: whoever may put items cannot have a coming occurrence
// of a job find its item there, which would be rejected then.
func TestNobodyTakesTheItemOfAnOccurrence(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, queued("q"))
	key := job.Key{Namespace: "ops", Name: "q"}
	coming := job.TaskID{Fire: job.FireID{Job: job.UID{7}, At: time.Now().Add(time.Hour).UnixNano(), Trigger: job.TriggerSchedule}, Minion: key.AsMinion(), Attempt: 1}
	redone := coming
	redone.Attempt = 2
	for _, id := range []string{coming.ItemID(), redone.ItemID()} {
		_, err := e.PutItems(t.Context(), key, []api.NewItem{{ID: "fine"}, {ID: id}}, api.Order{})
		var invalid *job.InvalidError
		if !errors.As(err, &invalid) || len(invalid.Problems) != 1 || invalid.Problems[0].Path != "items[1].id" || !strings.Contains(err.Error(), "has the form of a run's ID") {
			t.Errorf("item %s: %v", id, err)
		}
	}
	if v, err := e.Queue(t.Context(), key); err != nil || v.Waiting != 0 {
		t.Errorf("%d items wait, %v", v.Waiting, err)
	}
}

// TestDispatchNamesAQueue: a job is dispatched only to a queue that is there and takes what
// the job puts, be it of the same file.
func TestDispatchNamesAQueue(t *testing.T) {
	t.Parallel()
	e := setup(t)
	j := object("j")
	j.Spec.Command, j.Spec.Dispatch = nil, &job.QueueDispatch{Queue: "mails"}
	e.apply(t, queued("mail"))
	refused := func(want string, objects ...manifest.Object) {
		t.Helper()
		_, err := e.Apply(t.Context(), "jobs.json", encode(t, objects...), false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	refused(`spec.dispatch.queue: there is no queue "mails" in namespace "ops"; did you mean "mail"?`, j)
	mails := queued("mails")
	mails.Queue.PayloadSchema = `{"type":"object","required":["to"]}`
	refused("spec.params: make a payload that queue ops/mails does not take: to: is missing", mails, j)
	j.Spec.Params = []job.Param{{Name: "to", Default: "ann"}}
	e.apply(t, mails, j)
}
