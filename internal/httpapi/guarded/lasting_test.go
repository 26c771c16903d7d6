package guarded

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// door is one that a test opens and closes.
type door struct{ atomic.Value }

func (d *door) State() access.State { return d.Load().(access.State) }

// following is a control whose streams do not end by themselves, and what its caller,
// ann, may do there.
type following struct {
	*Control
	behind *behind
	door   *door
	policy atomic.Pointer[rights.Policy]
	begun  chan struct{}
}

func newFollowing(t *testing.T) *following {
	t.Helper()
	f := &following{behind: &behind{changes: make(chan api.Change, 4)}, door: &door{}, begun: make(chan struct{}, 1)}
	f.door.Store(access.Closed)
	f.behind.output = func(ctx context.Context) error {
		f.begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	f.may(rights.Rule{Verbs: []rights.Verb{rights.Read, rights.Logs}, Kinds: []rights.Kind{rights.Runs}, Namespaces: []string{"own"}})
	decide, err := policy.New(policy.Deps{Door: f.door, Policy: f.policy.Load})
	if err != nil {
		t.Fatal(err)
	}
	f.Control = New(f.behind, decide)
	f.every, f.answers = time.Millisecond, time.Microsecond
	return f
}

// may has ann have rules, and no others.
func (f *following) may(rules ...rights.Rule) {
	f.policy.Store(rights.New([]rights.Role{{Name: "r", Rules: rules}}, []rights.Binding{{Role: "r", Subjects: []rights.Subject{{Kind: rights.User, Name: "ann"}}}}))
}

func ann(ctx context.Context) context.Context {
	return caller.With(ctx, caller.Caller{Name: "ann", Subjects: []rights.Subject{{Kind: rights.User, Name: "ann"}}})
}

// streams are the answers that last, each until it ends.
func (f *following) streams() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"output": func(ctx context.Context) error {
			return f.Output(ctx, runOf("own"), "", true, func(api.OutputLine) error { return nil })
		},
		"results": func(ctx context.Context) error {
			return f.Results(ctx, runOf("own"), func(api.Result) error { return nil })
		},
	}
}

// TestI7_StreamsEndWithTheirReaders: by what the reader showed, and by what it may.
func TestI7_StreamsEndWithTheirReaders(t *testing.T) {
	t.Parallel()
	gone := error(&caller.RefusedError{Reason: "the session has ended"})
	readOnly := rights.Rule{Verbs: []rights.Verb{rights.Read}, Kinds: []rights.Kind{rights.Runs}, Namespaces: []string{"own"}}
	for name, c := range map[string]struct {
		lose func(*following)
		is   func(error) bool
	}{
		"the session has ended": {func(f *following) { f.behind.still.Store(&gone) }, func(err error) bool { return errors.As(err, new(*caller.RefusedError)) }},
		"no right is left":      {func(f *following) { f.may() }, func(err error) bool { return errors.Is(err, job.ErrNotFound) }},
		"output is not for it":  {func(f *following) { f.may(readOnly) }, func(err error) bool { return errors.Is(err, job.ErrForbidden) }},
	} {
		for kind := range newFollowing(t).streams() {
			f := newFollowing(t)
			ended := make(chan error, 1)
			go func() { ended <- f.streams()[kind](ann(t.Context())) }()
			<-f.begun
			c.lose(f)
			if err := <-ended; !c.is(err) {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
		}
	}
}

// TestI7_AFollowedRunIsOfItsOwnJob: another job that has got the name, and the labels by which
// the reader may see runs, does not keep the stream of the former one's run alive.
func TestI7_AFollowedRunIsOfItsOwnJob(t *testing.T) {
	t.Parallel()
	for kind := range newFollowing(t).streams() {
		f := newFollowing(t)
		f.behind.labels = map[string]string{"team": "web"}
		f.may(rights.Rule{Verbs: []rights.Verb{rights.Read, rights.Logs}, Kinds: []rights.Kind{rights.Runs}, Namespaces: []string{"own"}, Labels: f.behind.labels})
		ended := make(chan error, 1)
		go func() { ended <- f.streams()[kind](ann(t.Context())) }()
		<-f.begun
		f.behind.remade.Store(true)
		await.Until(t, kind+" has ended", func() bool {
			select {
			case err := <-ended:
				if !errors.Is(err, job.ErrNotFound) {
					t.Errorf("%s: %v", kind, err)
				}
				return true
			default:
				return false
			}
		})
	}
}

// TestForeignRunsTakeAsLongAsNone: how long it takes to be told that there is no such run
// does not tell whether there is one.
func TestForeignRunsTakeAsLongAsNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFollowing(t)
		f.answers, f.behind.vain = answersEvery, 410*time.Millisecond
		took := func(id job.RunID) time.Duration {
			begun := time.Now()
			if _, err := f.Run(ann(t.Context()), id); !errors.Is(err, job.ErrNotFound) {
				t.Errorf("%s: %v", id, err)
			}
			return time.Since(begun)
		}
		unknown := job.FireID{Job: job.UID{7}, At: 1, Trigger: job.TriggerManual}.RunID()
		if foreign, none := took(runOf("foreign")), took(unknown); foreign != none {
			t.Errorf("a foreign run takes %s, and one that there is not %s", foreign, none)
		}
		begun := time.Now()
		if _, err := f.Run(ann(t.Context()), runOf("own")); err != nil || time.Since(begun) != 0 {
			t.Errorf("one's own: %v after %s", err, time.Since(begun))
		}
	})
}

// TestI7_WhatEndsNothing: a cluster that cannot answer, and one that is open.
func TestI7_WhatEndsNothing(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.door.Store(access.Open)
	ctx, cancel := context.WithCancel(ann(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- f.streams()["output"](ctx) }()
	<-f.begun
	var asked atomic.Int32
	for i, err := range []error{fmt.Errorf("etcd is away: %w", job.ErrUnavailable), context.DeadlineExceeded, nil} {
		f.behind.still.Store(&err)
		f.behind.asked.Store(&asked)
		from := asked.Load()
		f.may()
		await.Until(t, "it is asked again", func() bool { return asked.Load() > from+2 })
		select {
		case err := <-ended:
			t.Fatalf("%d: it ended: %v", i, err)
		default:
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("its reader has gone: %v", err)
	}
}

// TestI7_ChangesAreOfWhatIsRead: kinds that are not for the reader any more are not told,
// and the channel is closed once it may not ask.
func TestI7_ChangesAreOfWhatIsRead(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	changes := f.Changes(ann(t.Context()), "")
	f.behind.changes <- api.Change{Topic: api.TopicRuns, Names: []string{"foreign/one"}, ID: "x-1"}
	if c := <-changes; c.Topic != api.TopicRuns || c.Names != nil || c.ID != "x-1" {
		t.Fatalf("told of %+v", c)
	}
	// told has changes of a topic be told once the reader's rights have come through, and
	// returns what else was told before.
	told := func(k rights.Kind, topic api.Topic) (others []api.Topic) {
		f.may(rights.Rule{Verbs: []rights.Verb{rights.Read}, Kinds: []rights.Kind{k}, Namespaces: []string{"own"}})
		await.Until(t, "changes of "+string(k)+" are told", func() bool {
			select {
			case f.behind.changes <- api.Change{Topic: topic}:
			default: // enough of them wait
			}
			select {
			case got := <-changes:
				if got.Topic != topic {
					others = append(others, got.Topic)
				}
				return got.Topic == topic
			default:
				return false
			}
		})
		return others
	}
	told(rights.Jobs, api.TopicJobs)
	f.behind.changes <- api.Change{Topic: api.TopicRuns}
	for _, other := range told(rights.Groups, api.TopicGroups) {
		if other == api.TopicRuns {
			t.Error("told of runs, which are not for the reader any more")
		}
	}
	gone := error(&caller.RefusedError{Reason: "the session has ended"})
	f.behind.still.Store(&gone)
	await.Until(t, "the channel is closed", func() bool {
		select {
		case _, more := <-changes:
			return !more
		default:
			return false
		}
	})
	if _, more := <-f.Changes(t.Context(), ""); more {
		t.Error("nobody is told")
	}
}
