package standby

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	// handOverTimeout bounds the wait for the last thing that an active cluster wrote.
	handOverTimeout = time.Minute
	// restoreTimeout bounds the time in which a copy is put in place.
	restoreTimeout = 10 * time.Minute
	// finishEvery is how often the minions of a promoted cluster are asked, and tellEvery
	// how often the one that was followed is told.
	finishEvery = time.Second
	tellEvery   = time.Second
	// slowLag is a lag that is told before a promotion.
	slowLag = 2 * time.Second
)

// Run follows the active cluster, and finishes promotions, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.follow(ctx) })
	g.Go(func() error { return s.finish(ctx) })
	g.Go(func() error { return s.tell(ctx) })
	return g.Wait()
}

// PromoteCluster has this cluster take over. The nodes open anew then, and have it go on once the
// minions have told what they have run.
func (s *Service) PromoteCluster(ctx context.Context, req api.PromoteRequest) (api.Promotion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := api.Promotion{DryRun: req.DryRun, Planned: req.Planned}
	f, h, err := s.following(ctx)
	if err != nil {
		return out, err
	}
	again := h != nil && h.state == etcdkv.HoldRestoring && h.Then != nil // it was broken off
	if r := role(h); r != api.RoleStandby && !again {
		site := ""
		if h != nil {
			site = h.Site
		}
		return out, fmt.Errorf("%s: only a standby is promoted: %w", texts(r, site), job.ErrConflict)
	}
	out.From = h.Site
	cur, err := s.ready(ctx, f, h, &out)
	if err != nil {
		return out, err
	}
	if req.LostAt, err = lostWithin(req.LostAt, cur.AsOf, s.deps.Now()); err != nil {
		return out, err
	}
	if req.DryRun {
		return out, nil
	}
	if again && req.Planned && !h.Then.Planned {
		return out, fmt.Errorf("the promotion that was broken off was no planned one, and the active cluster was not asked to stop: begin it again without --planned: %w", job.ErrConflict)
	}
	if req.Planned && !again {
		if err := s.handedOver(ctx, f, req.Order); err != nil {
			return out, err
		}
		if cur, _, err = readCursor(ctx, s.deps.Client, s.cfg.Keys); err != nil {
			return out, err
		}
	}
	return out, s.restore(ctx, f, h, &cur, req, &out)
}

// lostWithin returns when the active cluster was lost, which is after the copy and before
// now. A time in whole seconds means the end of that second, but not the future: people read
// it from clocks that show no more.
func lostWithin(lostAt, asOf, now time.Time) (time.Time, error) {
	if lostAt.IsZero() {
		return lostAt, nil
	}
	at := lostAt
	if at.Nanosecond() == 0 && !at.After(now) {
		if at = at.Add(time.Second - time.Nanosecond); at.After(now) {
			at = now
		}
	}
	if at.Before(asOf) || at.After(now) {
		stamp := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z07:00") }
		return lostAt, &job.InvalidError{Problems: []job.Problem{{Path: "lostAt", Message: fmt.Sprintf("%s is not between the copy (%s) and now (%s)", stamp(lostAt), stamp(asOf), stamp(now))}}}
	}
	return at, nil
}

// ready tells of the copy that is to be put in place, and what is to be known before.
func (s *Service) ready(ctx context.Context, f *etcdkv.Following, h *held, out *api.Promotion) (etcdkv.MirrorCursor, error) {
	cur, _, err := readCursor(ctx, s.deps.Client, s.cfg.Keys)
	if err != nil {
		return cur, err
	}
	if cur.Generation == 0 || cur.AsOf.IsZero() {
		why := cur.Trouble
		if why == "" {
			why = "it is being made"
		}
		return cur, fmt.Errorf("there is no whole copy of the active cluster: %s: %w", why, job.ErrConflict)
	}
	if out.Copy, err = s.copyOf(ctx, &cur); err != nil {
		return cur, err
	}
	own := h.Epoch // of before, should the description have gone in a promotion that was broken off
	if meta, err := s.meta(ctx); err == nil {
		own = max(own, meta.Epoch)
	} else if !errors.Is(err, job.ErrConflict) {
		return cur, err
	}
	out.Epoch = max(cur.Epoch, cur.Seen, own) + 1 // the active one may be in a later epoch than the copy (M8)
	if f != nil {
		out.Epoch = max(out.Epoch, f.Epoch+1)
	}
	if cur.SealKey != s.deps.Seal.Key() && h.state == etcdkv.HoldStandby {
		return cur, sealMismatch(s.deps.Seal.Key(), cur.SealKey)
	}
	if cur.Torn {
		out.Warnings = append(out.Warnings, fmt.Sprintf("the copy has a part of the revision after %d: what was changed by that one transaction is there in part", cur.Revision))
	}
	if lag := s.behind(&cur); lag > slowLag {
		out.Warnings = append(out.Warnings, fmt.Sprintf("the copy is %s behind: definitions that were changed since are lost, and what was fired since is known from the minions only", lag.Round(time.Second)))
	}
	if cur.Trouble != "" {
		out.Warnings = append(out.Warnings, "the active cluster is not followed now: "+cur.Trouble)
	}
	return cur, nil
}

// handedOver has the active cluster stop, and waits until the copy has all (M7).
func (s *Service) handedOver(ctx context.Context, f *etcdkv.Following, o api.Order) error {
	if f == nil {
		return fmt.Errorf("nothing says whom this cluster follows: %w", job.ErrConflict)
	}
	active, err := s.deps.Dial(f)
	if err != nil {
		return err
	}
	defer active.Close()
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	mark, err := active.HandOver(ctx, o)
	if err != nil {
		return fmt.Errorf("%s does not hand over, and goes on: %w: promote without --planned only if it is dead: %w", f.From, err, job.ErrConflict)
	}
	for {
		done, err := s.has(ctx, mark.ID)
		if err == nil && done {
			return nil
		}
		if !backoff.Sleep(ctx, 50*time.Millisecond) {
			return fmt.Errorf("%s has handed over, and its last state did not come within %s: ask again, promote without --planned, or have it go on by carillon recover there: %w", f.From, handOverTimeout, job.ErrUnavailable)
		}
	}
}

// has reports whether the copy has the last thing that the active cluster wrote.
func (s *Service) has(ctx context.Context, id string) (bool, error) {
	cur, _, err := readCursor(ctx, s.deps.Client, s.cfg.Keys)
	if err != nil || cur.Generation == 0 || cur.Torn {
		return false, err
	}
	k := s.cfg.Keys
	resp, err := s.deps.Client.Get(ctx, k.Copy(cur.Generation)+k.HandedOver()[len(k.Root()):])
	if err != nil || len(resp.Kvs) == 0 {
		return false, err
	}
	kept, _, ok := backup.CutRecord(resp.Kvs[0].Value)
	if !ok {
		return false, nil
	}
	v, err := etcdkv.Decode[etcdkv.HandedOver](k.HandedOver(), kept.Value)
	return v.ID == id, err
}

// restore puts the copy in the place of what this cluster has (M8). From its first write on
// nothing is mirrored (M4).
func (s *Service) restore(ctx context.Context, f *etcdkv.Following, h *held, cur *etcdkv.MirrorCursor, req api.PromoteRequest, out *api.Promotion) error {
	k := s.cfg.Keys
	then := &etcdkv.HoldThen{LostAt: req.LostAt, Reason: req.Reason, Planned: req.Planned, Last: map[string][]byte{}}
	if h.state == etcdkv.HoldRestoring {
		maps.Copy(then.Last, h.Then.Last) // of the one that was broken off: whom it followed is deleted
	}
	if req.AcceptAfter > 0 {
		then.AcceptAfter = s.deps.Now().Add(req.AcceptAfter).UTC()
	}
	op, err := s.deps.Audit(ctx, "cluster.promote", fmt.Sprintf("epoch %d, from revision %d of %s", out.Epoch, cur.Revision, h.Site), req.Order)
	if err != nil {
		return err
	}
	last := []clientv3.Op{op}
	if f != nil { // whom it followed is told that it is overtaken
		ended := *f
		ended.Ended = true
		value, err := etcdkv.Encode(&ended)
		if err != nil {
			return err
		}
		sealed, _, err := s.deps.Seal.Ops([]clientv3.Op{clientv3.OpPut(k.Following(), value)})
		if err != nil {
			return err
		}
		last = append(last, sealed...)
	}
	for _, op := range last {
		then.Last[string(op.KeyBytes())] = op.ValueBytes()
	}
	// Who has asked may leave: what was begun is better ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTimeout)
	defer cancel()
	done, err := putCopy(ctx, s.deps.Client, k, cur, s.cfg.Version, h, then, backup.Options{By: req.By, Epoch: out.Epoch})
	if errors.Is(err, backup.ErrInTheWay) {
		return fmt.Errorf("%w: %w", err, job.ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("the promotion is not complete, begin it again: %w: %w", err, job.ErrUnavailable)
	}
	s.log.Warn("this cluster was promoted; its nodes open anew, and ask the minions what they have run",
		zap.Int64("epoch", done.NewEpoch), zap.Int64("revision", cur.Revision), zap.Int64("jobs", done.Jobs))
	return nil
}

// finish has a promoted cluster go on as soon as its minions have told what they have run.
func (s *Service) finish(ctx context.Context) error {
	told := ""
	for backoff.Sleep(ctx, finishEvery) {
		h := s.deps.Held()
		if h == nil || h.State != etcdkv.HoldRestored || h.Then == nil || !s.deps.Mine() {
			continue
		}
		req := api.RecoverRequest{Order: api.Order{By: h.By, Reason: h.Then.Reason}, LostAt: h.Then.LostAt}
		req.AcceptUnknown = !h.Then.AcceptAfter.IsZero() && s.deps.Now().After(h.Then.AcceptAfter)
		_, err := s.deps.Recover(ctx, req)
		if err != nil && ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			s.log.Warn("the promoted cluster does not go on yet", zap.Error(err))
		}
	}
	return nil
}

// tell tells the one that was followed that it is overtaken, until it knows.
func (s *Service) tell(ctx context.Context) error {
	wait := backoff.Backoff{Least: tellEvery, Most: 10 * time.Second}
	for wait.Pause(ctx) {
		h := s.deps.Held()
		if !s.deps.Mine() || h != nil && h.State != etcdkv.HoldRestored {
			wait.Reset()
			continue
		}
		f, now, err := s.following(ctx)
		if err != nil || f == nil || !f.Ended || now != nil && now.state != etcdkv.HoldRestored {
			continue
		}
		wait.Reset()
		if err := s.tellOnce(ctx, f); err != nil {
			s.log.Debug("the cluster that was followed does not know yet that it is overtaken", zap.Error(err))
			continue
		}
		s.log.Info("the cluster that was followed knows that it is overtaken", zap.String("site", f.From))
	}
	return nil
}

func (s *Service) tellOnce(ctx context.Context, f *etcdkv.Following) error {
	meta, err := s.meta(ctx)
	if err != nil {
		return err
	}
	cur, _, err := readCursor(ctx, s.deps.Client, s.cfg.Keys)
	if err != nil {
		return err
	}
	active, err := s.deps.Dial(f)
	if err != nil {
		return err
	}
	defer active.Close()
	bounded, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req := api.OvertakenRequest{Cluster: meta.ClusterID, Epoch: meta.Epoch, Site: s.cfg.Site}
	if cur.Cluster == meta.ClusterID {
		req.Revision = cur.Revision
	}
	if _, err := active.Overtaken(bounded, req); err != nil {
		return err
	}
	return s.commit(ctx, nil, s.forget()...)
}
