package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/scheduler/plan"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// bed is a restored cluster with a job that is due each minute, whose minions and history
// a test makes up.
type bed struct {
	*testing.T
	*Recoverer
	job   job.Job
	shard job.ShardID
	now   time.Time
	taken time.Time
	fires map[job.MinionID][]agentpb.KnownFire
	away  map[job.MinionID]error
	runs  map[job.RunID]job.Run
	since time.Time // of all minions
}

func (b *bed) Fires(_ context.Context, m job.MinionID, after time.Time, fn func(agentpb.KnownFire) error) error {
	for _, f := range b.fires[m] {
		if f.Fire.Time().After(after) {
			if err := fn(f); err != nil {
				return err
			}
		}
	}
	return b.away[m]
}

func (b *bed) Minions() []job.Minion {
	return []job.Minion{{ID: "m1", Since: b.since}, {ID: "m2", Since: b.since}}
}
func (b *bed) Reach(job.Target) ([]job.MinionID, []job.Uncontrollable) {
	return []job.MinionID{"m1"}, []job.Uncontrollable{{Minion: "m2"}}
}
func (b *bed) Calendar(job.Key) (plan.Calendar, bool) { return plan.Calendar{}, false }
func (b *bed) Append(_ context.Context, runs []job.Run) error {
	for i := range runs {
		b.runs[runs[i].RunID] = runs[i]
	}
	return nil
}

func (b *bed) Get(_ context.Context, id job.RunID) (job.Run, error) {
	r, ok := b.runs[id]
	if !ok {
		return r, job.ErrNotFound
	}
	return r, nil
}
func (b *bed) List(context.Context, history.Query) (history.Page, error) { return history.Page{}, nil }

func setup(t *testing.T) *bed {
	t.Helper()
	b := &bed{
		T: t, now: time.Date(2027, 1, 31, 2, 30, 30, 0, time.UTC), taken: time.Date(2027, 1, 31, 2, 10, 30, 0, time.UTC),
		fires: map[job.MinionID][]agentpb.KnownFire{}, away: map[job.MinionID]error{}, runs: map[job.RunID]job.Run{}, shard: 3,
	}
	keys := etcdkv.NewKeys(etcdtest.Prefix(t))
	b.Recoverer = New(Deps{
		Client: shared.Server(t).Client(t), Keys: keys, Node: "n1", Minions: b, History: b, Calendars: b, Now: func() time.Time { return b.now }, Logger: zap.NewNop(),
		Audit: func(_ context.Context, action, object string, _ api.Order) (clientv3.Op, error) {
			return clientv3.OpPut(keys.Audit()+"x", action+" "+object), nil
		},
		Seen: func() int64 { return 6 },
	})
	b.job = b.newJob("backup")
	b.put(keys.Meta(), &etcdkv.Meta{Schema: 1, ClusterID: "c", Epoch: 5, Shards: 8})
	b.put(keys.Job(b.shard, b.job.Key()), &etcdkv.StoredJob{Schema: 1, Job: b.job})
	b.put(keys.State(b.shard), &etcdkv.ShardState{Schema: 1, Cursor: b.taken, Seq: 7, JobsRev: 1 << 40, Claim: "before"})
	b.put(keys.Hold(), &etcdkv.Hold{Schema: 1, State: etcdkv.HoldRestored, Since: b.now.Add(-5 * time.Minute), Epoch: 5, From: 4, TakenAt: b.taken})
	return b
}

func (b *bed) newJob(name string) job.Job {
	b.Helper()
	uid, err := job.NewUID()
	if err != nil {
		b.Fatal(err)
	}
	return job.Job{Metadata: job.Metadata{Namespace: "ops", Name: name}, UID: uid, Generation: 1, After: b.taken.Add(-time.Hour), Spec: job.Spec{
		Schedules: []string{"* * * * *"}, Command: []string{"true"},
	}}
}

func (b *bed) put(key string, v any) {
	b.Helper()
	text, err := etcdkv.Encode(v)
	if err == nil {
		_, err = b.Client.Put(b.Context(), key, text)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// fire is one of the job's, so many minutes after the backup.
func (b *bed) fire(minute int) job.FireID {
	return job.FireID{Job: b.job.UID, At: b.taken.Truncate(time.Minute).Add(time.Duration(minute) * time.Minute).UnixNano(), Trigger: job.TriggerSchedule}
}

func (b *bed) knows(m job.MinionID, f job.FireID, attempt int, state job.State) {
	b.fires[m] = append(b.fires[m], agentpb.KnownFire{Key: f.String(), Fire: f, Attempt: attempt, State: state})
}

func (b *bed) state() etcdkv.ShardState {
	b.Helper()
	text, _, err := b.get(b.Context(), b.Keys.State(b.shard))
	if err != nil {
		b.Fatal(err)
	}
	s, err := etcdkv.Decode[etcdkv.ShardState]("", text)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func (b *bed) slots() (all []etcdkv.SlotEntry) {
	b.Helper()
	if err := b.list(b.Context(), b.Keys.Slots(b.shard), func(kv *mvccpb.KeyValue) error {
		s, err := etcdkv.DecodeSlot(kv.Value)
		all = append(all, s.Entries...)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return all
}

func (b *bed) held() bool {
	b.Helper()
	text, _, err := b.get(b.Context(), b.Keys.Hold())
	if err != nil {
		b.Fatal(err)
	}
	return text != nil
}

// What minions have run gets open slots that name them; the shard is told up to where to
// look; a dry run changes nothing (R2).
func TestWhatRanIsInASlot(t *testing.T) {
	b := setup(t)
	for minute := 1; minute <= 10; minute++ {
		b.knows("m1", b.fire(minute), 1, job.StateSucceeded)
	}
	b.knows("m1", b.fire(11), 1, job.StateFailed)
	b.knows("m1", b.fire(11), 2, "") // the second attempt goes on
	b.knows("m2", b.fire(11), 1, job.StateSucceeded)
	other := b.newJob("later")
	b.knows("m2", job.FireID{Job: other.UID, At: b.fire(5).At, Trigger: job.TriggerSchedule}, 1, job.StateSucceeded)
	dry, err := b.Recover(t.Context(), api.RecoverRequest{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if dry.Ran != 11 || dry.Open != 1 || dry.Left != 9 || dry.Indeterminate != 0 || dry.Answered != 2 || len(dry.Lost) != 1 || dry.Lost[0].UID != other.UID || dry.Done {
		t.Errorf("dry run: %+v", dry)
	}
	if len(b.slots()) != 0 || b.state().Claim != "before" || !b.held() {
		t.Error("the dry run has changed something")
	}
	out, err := b.Recover(t.Context(), api.RecoverRequest{})
	if err != nil || !out.Done {
		t.Fatalf("%+v, %v", out, err)
	}
	slots := b.slots()
	if len(slots) != 11 {
		t.Fatalf("%d entries", len(slots))
	}
	last := slots[slices.IndexFunc(slots, func(e etcdkv.SlotEntry) bool { return e.Fire == b.fire(11) })]
	if want := []etcdkv.SlotTask{{Minion: "m1", Attempt: 2}, {Minion: "m2", Attempt: 1}}; !slices.Equal(last.Tasks, want) || last.State != etcdkv.EntryOpen {
		t.Errorf("entry %+v", last)
	}
	if s := b.state(); !s.Cursor.Equal(b.taken) || !s.Ahead.Equal(b.now) || s.Seq != 8 || s.Claim == "before" || s.JobsRev != 1<<40 {
		t.Errorf("state %+v", s)
	}
	if b.held() {
		t.Error("the cluster is held yet")
	}
	if _, err := b.Recover(t.Context(), api.RecoverRequest{}); !errors.Is(err, job.ErrConflict) {
		t.Errorf("once more: %v", err)
	}
}

// While a minion is silent that may have run something nothing is done, unless that is
// accepted; then it is indeterminate up to the loss, and not after (R3).
func TestR3_SilenceIsNotTakenForRest(t *testing.T) {
	b := setup(t)
	b.knows("m1", b.fire(1), 1, job.StateSucceeded)
	b.away["m2"] = errors.New("it is not connected")
	if _, err := b.Recover(t.Context(), api.RecoverRequest{}); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "m2 (it is not connected)") || !strings.Contains(err.Error(), "--accept-unknown") {
		t.Errorf("%v", err)
	}
	if len(b.slots()) != 0 || len(b.runs) != 0 || !b.held() {
		t.Error("something was written")
	}
	if _, err := b.Recover(t.Context(), api.RecoverRequest{LostAt: b.now.Add(time.Hour)}); !errors.As(err, new(*job.InvalidError)) {
		t.Errorf("lost in the future: %v", err)
	}
	lost := b.fire(4).Time().Add(time.Second)
	out, err := b.Recover(t.Context(), api.RecoverRequest{AcceptUnknown: true, LostAt: lost})
	if err != nil {
		t.Fatal(err)
	}
	if out.Ran != 1 || out.Indeterminate != 3 || out.Left != 16 || len(b.runs) != 3 || b.held() {
		t.Errorf("%+v, %d records", out, len(b.runs))
	}
	for minute := 2; minute <= 4; minute++ {
		r := b.runs[b.fire(minute).RunID()]
		if r.State != job.StateIndeterminate || !strings.Contains(r.Reason, "m2") || r.Job != "backup" || r.Count != 1 {
			t.Errorf("minute %d: %+v", minute, r)
		}
	}
}

// A recovery that was broken off is begun again: nothing is written twice (R2).
func TestR2_ARecoveryIsBegunAgain(t *testing.T) {
	b := setup(t)
	b.knows("m1", b.fire(1), 1, job.StateSucceeded)
	hold, _, err := b.get(t.Context(), b.Keys.Hold())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Recover(t.Context(), api.RecoverRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Client.Put(t.Context(), b.Keys.Hold(), string(hold)); err != nil { // as if its last write had not come
		t.Fatal(err)
	}
	out, err := b.Recover(t.Context(), api.RecoverRequest{})
	if err != nil || out.Ran != 0 || len(b.slots()) != 1 || b.held() {
		t.Errorf("%+v, %v, %d entries", out, err, len(b.slots()))
	}
}

// Of a job that the last commit before the backup did not know, what was due before the
// cursor, and after the job was made, is planned by the owner: it has run, too.
func TestAJobThatNoCommitKnew(t *testing.T) {
	b := setup(t)
	late := b.newJob("late")
	late.After = b.fire(-1).Time().Add(-time.Second)
	b.put(b.Keys.State(b.shard), &etcdkv.ShardState{Schema: 1, Cursor: b.taken, Seq: 7, JobsRev: etcdtest.Revision(t, b.Client), Claim: "before"})
	b.put(b.Keys.Job(b.shard, late.Key()), &etcdkv.StoredJob{Schema: 1, Job: late})
	ran := b.fire(-1)
	b.knows("m1", ran, 1, job.StateSucceeded) // of the job that was known: closed before
	ran.Job = late.UID
	b.knows("m1", ran, 1, job.StateSucceeded)
	if _, err := b.Recover(t.Context(), api.RecoverRequest{}); err != nil {
		t.Fatal(err)
	}
	if slots := b.slots(); len(slots) != 1 || slots[0].Fire != ran {
		t.Errorf("slots: %+v", slots)
	}
}

// The end of a run that others wait for is recorded as its minions know it: in a slot it
// would be told to them once more. So is a share of a parallel group; its instant is taken.
func TestEndsAreNotToldTwice(t *testing.T) {
	b := setup(t)
	waits := b.newJob("waits")
	b.put(b.Keys.Dependency(b.job.Key(), waits.Key()), &etcdkv.Dependency{Schema: 1, From: b.job.Key(), To: waits.Key()})
	share := b.fire(3)
	share.Share = 7
	b.knows("m1", b.fire(1), 1, job.StateSucceeded)
	b.knows("m2", b.fire(1), 2, job.StateFailed)
	b.knows("m1", b.fire(2), 1, "")
	b.knows("m1", share, 1, job.StateSucceeded)
	out, err := b.Recover(t.Context(), api.RecoverRequest{})
	if err != nil || out.Ran != 3 || out.Open != 1 || out.Left != 17 {
		t.Fatalf("%+v, %v", out, err)
	}
	if slots := b.slots(); len(slots) != 1 || slots[0].Fire != b.fire(2) {
		t.Errorf("slots: %+v", slots)
	}
	r := b.runs[b.fire(1).RunID()]
	if r.State != job.StateFailed || len(r.Tasks) != 2 || r.Attempt != 2 || r.Reason == "" {
		t.Errorf("record: %+v", r)
	}
	if r := b.runs[share.RunID()]; r.State != job.StateSucceeded || !r.ScheduledAt.Equal(share.Time()) {
		t.Errorf("share: %+v", r)
	}
}

// What etcd holds after a restore of its own is adopted: above all epochs that were seen,
// held, and without what lies on leases.
func TestAdopt(t *testing.T) {
	b := setup(t)
	if _, err := b.Recover(t.Context(), api.RecoverRequest{Adopt: true}); !errors.Is(err, job.ErrConflict) {
		t.Errorf("while it is held: %v", err)
	}
	if _, err := b.Client.Delete(t.Context(), b.Keys.Hold()); err != nil {
		t.Fatal(err)
	}
	b.put(b.Keys.Mark(), &etcdkv.Mark{Schema: 1, At: b.taken})
	l, err := b.Client.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Client.Put(t.Context(), b.Keys.Owner(b.shard), "{}", clientv3.WithLease(l.ID)); err != nil {
		t.Fatal(err)
	}
	out, err := b.Recover(t.Context(), api.RecoverRequest{Adopt: true})
	if err != nil || !out.Adopted || out.Epoch != 7 || !out.TakenAt.Equal(b.taken) || !b.held() {
		t.Errorf("%+v, %v", out, err)
	}
	if text, _, err := b.get(t.Context(), b.Keys.Owner(b.shard)); err != nil || text != nil {
		t.Errorf("the owner is there yet: %s, %v", text, err)
	}
	text, _, err := b.get(t.Context(), b.Keys.Meta())
	if err != nil {
		t.Fatal(err)
	}
	if meta, err := etcdkv.Decode[etcdkv.Meta]("", text); err != nil || meta.Epoch != 7 || meta.Shards != 8 {
		t.Errorf("%+v, %v", meta, err)
	}
}

// A minion that has lost its journal, or has an old copy of it, counts as silent, and what
// it knows counts all the same; one whose journal is as old as the minion does not.
func TestJournalsThatDoNotKnowAllAreSilent(t *testing.T) {
	b := setup(t)
	b.knows("m1", b.fire(3), 1, job.StateSucceeded)
	b.since = b.taken.Add(-time.Hour)
	for name, c := range map[string]struct {
		gap    agentpb.Gap
		since  time.Time
		silent bool
	}{
		"as old as the minion":   {agentpb.GapNew, b.since.Add(time.Second), false},
		"lost after the backup":  {agentpb.GapNew, b.taken.Add(time.Minute), true},
		"lost before the backup": {agentpb.GapNew, b.since.Add(time.Minute), true},
		"an old copy":            {agentpb.GapCopy, b.taken.Add(time.Minute), true},
	} {
		b.away["m1"] = fmt.Errorf("asked: %w", &agentpb.IncompleteError{Since: c.since, Gap: c.gap})
		got, err := b.Recover(t.Context(), api.RecoverRequest{DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		if silent := len(got.Silent) == 1; silent != c.silent || silent && !strings.Contains(got.Silent[0].Reason, "data directory") || silent != (got.Indeterminate > 0) || got.Ran != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
