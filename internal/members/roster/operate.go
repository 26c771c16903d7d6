package roster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/members/pace"
	"github.com/carillon-cron/carillon/job"
)

// Operator does with the members what an operator asks for. It may be used by many
// goroutines at once.
type Operator struct {
	node   job.NodeID
	keys   etcdkv.Keys
	client *clientv3.Client
	at     func(endpoints []string) (*clientv3.Client, error)
	pace   pace.Pace
}

// NewOperator returns an Operator that asks from a node. At makes a client of some
// members only; p is the pace by the node's settings.
func NewOperator(node job.NodeID, keys etcdkv.Keys, client *clientv3.Client, at func(endpoints []string) (*clientv3.Client, error), p pace.Pace) *Operator {
	return &Operator{node: node, keys: keys, client: client, at: at, pace: p}
}

// Status is a member, and what it says of itself.
type Status struct {
	Member

	// Leader, Version, sizes and Index are told by the member; they are zero where it
	// does not answer.
	Leader      bool
	Version     string
	Size, InUse int64
	Quota       int64
	Index       uint64
	Errors      []string
	// Down is why it does not answer; empty: it does.
	Down string
}

// Look returns the members, and asks each how it is.
func (o *Operator) Look(ctx context.Context) ([]Status, error) {
	listed, err := o.client.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("members of etcd: %w", etcdkv.Unavailable(err))
	}
	all := Of(listed.Members)
	out := make([]Status, len(all))
	var wg sync.WaitGroup
	for i, m := range all {
		wg.Go(func() { out[i] = o.ask(ctx, m) })
	}
	wg.Wait()
	return out, nil
}

func (o *Operator) ask(ctx context.Context, m Member) Status {
	s := Status{Member: m, Quota: Quota}
	if m.Name == "" {
		s.Down = "it was added and has not started"
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err := errors.New("it names no address")
	for _, e := range m.ClientURLs {
		if !isHTTPS(e) {
			continue
		}
		var st *clientv3.StatusResponse
		if st, err = o.client.Status(ctx, e); err != nil {
			continue
		}
		s.Leader, s.Version, s.Size, s.InUse = st.Leader == uint64(m.ID), st.Version, st.DbSize, st.DbSizeInUse
		s.Index, s.Errors = st.RaftAppliedIndex, st.Errors
		if st.Leader == 0 {
			s.Errors = append(s.Errors, "it knows no leader")
		}
		return s
	}
	s.Down = etcdkv.Unavailable(err).Error()
	return s
}

// Find returns the member of a node, by the node's name or the member's number.
func Find(all []Status, ref string) (Status, bool) {
	i := slices.IndexFunc(all, func(s Status) bool { return s.Name == ref || s.ID.String() == strings.ToLower(ref) })
	if i < 0 {
		return Status{}, false
	}
	return all[i], true
}

// MayRemove tells why a member may not be removed; nil: it may.
func MayRemove(all []Status, gone ID) error {
	plain := make([]Member, len(all))
	for i := range all {
		plain[i] = all[i].Member
	}
	return KeepsMajority(plain, gone, func(m Member) bool {
		return slices.ContainsFunc(all, func(s Status) bool { return s.ID == m.ID && s.Down == "" })
	})
}

const (
	// leaveTime is how long a node that lives has to leave by itself.
	leaveTime = 8 * time.Second
	// againLeast and againMost are the pauses before a removal is tried again.
	againLeast, againMost = 100 * time.Millisecond, time.Second
)

// Leave waits until a member is gone whose node lives and has been told to be none: such
// a node has its clients ask the others first. One that stays is removed.
func (o *Operator) Leave(ctx context.Context, id ID) error {
	bounded, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	for wait := (backoff.Backoff{Least: againLeast, Most: againLeast}); wait.Pause(bounded); {
		listed, err := o.client.MemberList(bounded)
		if err == nil && !slices.ContainsFunc(listed.Members, func(m *etcdserverpb.Member) bool { return m.ID == uint64(id) }) {
			return nil
		}
	}
	return o.Remove(ctx, id)
}

// Remove removes a member. One that is gone already is no error. What etcd refuses for a
// moment only is tried again: another change is being made, a member has just come, or
// who was asked is the one that goes.
func (o *Operator) Remove(ctx context.Context, id ID) error {
	bounded, cancel := context.WithTimeout(ctx, ChangeTime)
	defer cancel()
	wait := backoff.Backoff{Least: againLeast, Most: againMost}
	for {
		err := o.removeOnce(bounded, id)
		passes := errors.Is(err, ErrChanging) || errors.Is(err, rpctypes.ErrUnhealthy) || errors.Is(err, job.ErrUnavailable)
		if !passes || !wait.Pause(bounded) {
			return err
		}
	}
}

func (o *Operator) removeOnce(ctx context.Context, id ID) error {
	return Change(ctx, o.client, o.keys, etcdkv.EtcdChange{Node: o.node, What: "remove " + id.String()}, func(ctx context.Context) error {
		all, err := o.Look(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(s Status) bool { return s.ID == id }) {
			return nil
		}
		if err := MayRemove(all, id); err != nil {
			return err
		}
		_, err = o.client.MemberRemove(ctx, uint64(id))
		if errors.Is(err, rpctypes.ErrMemberNotFound) {
			return nil
		}
		return refused(err)
	})
}

// MoveLeader has another member lead.
func (o *Operator) MoveLeader(ctx context.Context, to Status) error {
	switch {
	case to.Learner:
		return fmt.Errorf("%s has no vote yet: %w", NameOf(to.Member), job.ErrConflict)
	case to.Down != "":
		return fmt.Errorf("%s does not answer (%s): %w", NameOf(to.Member), to.Down, job.ErrConflict)
	case to.Leader:
		return nil
	}
	all, err := o.Look(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(s Status) bool { return s.Leader })
	if i < 0 {
		return fmt.Errorf("no member leads at this moment: %w", job.ErrUnavailable)
	}
	// Only the leader takes this.
	at, err := o.at(Endpoints([]Member{all[i].Member}))
	if err != nil {
		return err
	}
	defer func() { _ = at.Close() }() // nothing is left in it
	_, err = at.MoveLeader(ctx, uint64(to.ID))
	return refused(err)
}

// Defrag has a member give the free pages of its file back. It answers nobody meanwhile.
func (o *Operator) Defrag(ctx context.Context, s Status) error {
	var err error
	for _, e := range Endpoints([]Member{{ClientURLs: s.ClientURLs}}) {
		if _, err = o.client.Defragment(ctx, e); err == nil {
			return nil
		}
	}
	return refused(err)
}

// refused is an error of etcd as the API tells it.
func refused(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrUnhealthy), errors.Is(err, rpctypes.ErrMemberNotEnoughStarted), errors.Is(err, rpctypes.ErrMemberExist),
		errors.Is(err, rpctypes.ErrMemberNotLearner), errors.Is(err, rpctypes.ErrTooManyLearners):
		return fmt.Errorf("etcd refuses: %w: %w", err, job.ErrConflict)
	}
	return etcdkv.Unavailable(err)
}
