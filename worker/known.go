package worker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// firesSince returns what the journal knows of fires that were due after an instant, or
// have ended after it: of those that come after a key, the first few. It reports whether
// there are more.
func (ts *tasks) firesSince(after int64, from string) (known []agentpb.KnownFire, more bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	add := func(key taskKey, shard job.ShardID, state job.State, ended int64) *agentpb.KnownFire {
		if key.fire.At <= after && ended <= after {
			return nil
		}
		text := key.String()
		if text <= from {
			return nil
		}
		known = append(known, agentpb.KnownFire{Key: text, Fire: key.fire, Attempt: key.attempt, Shard: shard, State: state, EndedAt: ended})
		return &known[len(known)-1]
	}
	for key, p := range ts.journal.past {
		add(key, p.Shard, p.State, p.EndedAt)
	}
	for key, e := range ts.journal.live {
		r, state, ended := cmp.Or(e.final, e.settling), job.State(""), int64(1)<<62 // it goes on
		if r != nil {
			if state = r.State; !r.EndedAt.IsZero() {
				ended = r.EndedAt.UnixNano()
			}
		}
		f := add(key, e.shard, state, ended)
		if f == nil {
			continue
		}
		if r == nil {
			f.EndedAt, f.Waiting = 0, e.phase < phaseHanded
		}
		if e.order != nil {
			f.Job = e.order.Key
		}
	}
	slices.SortFunc(known, func(a, b agentpb.KnownFire) int { return cmp.Compare(a.Key, b.Key) })
	if len(known) > agentpb.MaxFires {
		return known[:agentpb.MaxFires], true
	}
	return known, false
}

// copyFires answers what the journal knows of fires.
func (s *session) copyFires(ctx context.Context, q *agentpb.Fires, rd *reading) error {
	known, more := s.of.tasks.firesSince(q.GetAfter(), q.GetFrom())
	var page bytes.Buffer
	out := json.NewEncoder(&page)
	for i := range known {
		if err := out.Encode(&known[i]); err != nil {
			return err
		}
	}
	end := agentpb.FiresEnd{More: more, End: true}
	if m := s.of.tasks.journal.memory; m != nil && !m.Since.IsZero() {
		end.Since, end.Gap = m.Since.UnixNano(), m.Why
	}
	if err := out.Encode(end); err != nil {
		return err
	}
	for part := range slices.Chunk(page.Bytes(), chunkBytes) {
		s.emitTo(ctx, rd, &agentpb.OutputChunk{Id: rd.id, Stream: 1, Data: slices.Clone(part)})
	}
	return ctx.Err()
}
