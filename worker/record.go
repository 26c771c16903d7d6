package worker

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// taskKey is what a minion must not start twice: one attempt of a fire here.
type taskKey struct {
	fire    job.FireID
	attempt int
}

func keyOf(t job.TaskID) taskKey { return taskKey{fire: t.Fire, attempt: t.Attempt} }

// id returns the full task id on the minion.
func (k taskKey) id(m job.MinionID) job.TaskID {
	return job.TaskID{Fire: k.fire, Minion: m, Attempt: k.attempt}
}

// String returns the key's form in file names and towards the shim:
// UID-INSTANT-TRIGGER-ATTEMPT, where the UID has no dashes; a share stands
// behind the trigger, with a dot.
func (k taskKey) String() string {
	uid := strings.ReplaceAll(k.fire.Job.String(), "-", "")
	if k.fire.Share != 0 {
		return fmt.Sprintf("%s-%d-%d.%x-%d", uid, k.fire.At, k.fire.Trigger, k.fire.Share, k.attempt)
	}
	return fmt.Sprintf("%s-%d-%d-%d", uid, k.fire.At, k.fire.Trigger, k.attempt)
}

// MarshalText implements encoding.TextMarshaler.
func (k taskKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *taskKey) UnmarshalText(b []byte) error {
	v, err := parseTaskKey(string(b))
	if err != nil {
		return err
	}
	*k = v
	return nil
}

func parseTaskKey(s string) (taskKey, error) {
	// An instant before 1970 begins with a dash, so the instant is what the
	// other parts leave over.
	uid, rest, ok := strings.Cut(s, "-")
	rest, attempt, ok2 := cutLast(rest, "-")
	at, trigger, ok3 := cutLast(rest, "-")
	trigger, share, shared := strings.Cut(trigger, ".")
	part := uint64(0)
	if shared {
		var err error
		if part, err = strconv.ParseUint(share, 16, 32); err != nil {
			return taskKey{}, fmt.Errorf("task key %q: share %q: %w", s, share, err)
		}
	}
	u, err := job.ParseUID(uid)
	n, err1 := strconv.ParseInt(at, 10, 64)
	t, err2 := strconv.ParseUint(trigger, 10, 8)
	a, err3 := strconv.Atoi(attempt)
	if !ok || !ok2 || !ok3 || err != nil || err1 != nil || err2 != nil || err3 != nil {
		return taskKey{}, fmt.Errorf("task key %q: want UID-INSTANT-TRIGGER-ATTEMPT", s)
	}
	return taskKey{fire: job.FireID{Job: u, At: n, Trigger: job.Trigger(t), Share: uint32(part)}, attempt: a}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// kind says what a record of the journal tells. Kinds are stored: never
// rename them. A kind that is not known is skipped.
type kind string

const (
	kindAccepted kind = "accepted" // Order
	kindIntent   kind = "intent"   // Task, Instance, Boot: is handed to the shim next
	kindStarted  kind = "started"  // Task, PID, Ticks, At
	kindCancel   kind = "cancel"   // Task, Reason: was asked to end
	kindEnded    kind = "ended"    // Report, At; for a task that was never accepted too
	kindAcked    kind = "acked"    // Task, At
	kindToken    kind = "token"    // Shard, Token
	kindProbe    kind = "probe"    // nothing: shows that the journal can be written
	kindPast     kind = "past"     // Past: an acknowledged task, in short; from compaction
)

// record is one entry of the journal.
type record struct {
	Kind     kind        `json:"k"`
	Task     *taskKey    `json:"t,omitempty"`
	Order    *job.Order  `json:"order,omitempty"`
	Report   *job.Report `json:"report,omitempty"`
	Past     *past       `json:"past,omitempty"`
	Instance string      `json:"shim,omitempty"`
	Boot     string      `json:"boot,omitempty"`
	PID      int         `json:"pid,omitempty"`
	Ticks    uint64      `json:"ticks,omitempty"`
	At       int64       `json:"at,omitempty"`
	Reason   string      `json:"reason,omitempty"`
	Shard    job.ShardID `json:"shard,omitempty"`
	Token    *job.Token  `json:"token,omitempty"`
}

func (r *record) encode() ([]byte, error) { return json.Marshal(r) }

func decodeRecord(b []byte) (record, error) {
	var r record
	err := json.Unmarshal(b, &r)
	// A task without a name could not be written again.
	if err == nil && r.Order != nil {
		_, err = job.ParseFireID(r.Order.Task.Fire.String())
	}
	if err == nil && r.Report != nil {
		_, err = job.ParseFireID(r.Report.Task.Fire.String())
	}
	return r, err
}

// past is what is remembered of a task that is done and acknowledged.
type past struct {
	Shard   job.ShardID `json:"shard"`
	State   job.State   `json:"state"`
	EndedAt int64       `json:"endedAt"`
	Exited  bool        `json:"exited,omitempty"`
	Code    int         `json:"code,omitempty"`
	// ackedAt is the wall clock in nanoseconds.
	AckedAt int64 `json:"ackedAt"`
}
