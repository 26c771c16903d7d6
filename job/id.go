package job

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// UID identifies a job for its whole life, through renames and edits.
// The zero UID is not valid.
type UID [16]byte

// NewUID returns a new UID (UUID version 7, so UIDs sort by creation).
func NewUID() (UID, error) {
	u, err := uuid.NewV7()
	if err != nil {
		return UID{}, fmt.Errorf("new job uid: %w", err)
	}
	return UID(u), nil
}

// ParseUID reads the text form of a UID.
func ParseUID(s string) (UID, error) {
	u, err := uuid.Parse(s)
	if err != nil {
		return UID{}, fmt.Errorf("job uid %q: %w", s, err)
	}
	return UID(u), nil
}

// IsZero reports whether u is the zero UID.
func (u UID) IsZero() bool { return u == UID{} }

func (u UID) String() string { return uuid.UUID(u).String() }

// MarshalText implements encoding.TextMarshaler.
func (u UID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *UID) UnmarshalText(b []byte) error {
	v, err := ParseUID(string(b))
	if err != nil {
		return err
	}
	*u = v
	return nil
}

// Key is a job's address: namespace and name. Names are unique per namespace.
type Key struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// DefaultNamespace is where a job lives that names no namespace.
const DefaultNamespace = "default"

// ParseKey reads "name" or "namespace/name".
func ParseKey(s string) (Key, error) {
	ns, name, ok := strings.Cut(s, "/")
	if !ok {
		ns, name = DefaultNamespace, s
	}
	k := Key{Namespace: ns, Name: name}
	if err := CheckName(k.Namespace); err != nil {
		return Key{}, fmt.Errorf("namespace of %q: %w", s, err)
	}
	if err := CheckName(k.Name); err != nil {
		return Key{}, fmt.Errorf("name of %q: %w", s, err)
	}
	return k, nil
}

func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Compare orders keys by namespace, then name.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Namespace, o.Namespace), cmp.Compare(k.Name, o.Name))
}

// NodeID names a scheduler node; it is unique in the cluster.
type NodeID string

// MinionID names a minion; it is unique in the cluster.
type MinionID string

// ShardID numbers a shard, the unit of ownership, from 0.
type ShardID uint32

func (s ShardID) String() string { return strconv.FormatUint(uint64(s), 10) }

// Token is a fencing token: it rises strictly over the grants of one lock or
// shard. A resource that keeps the highest token it has seen and refuses lower
// ones is safe from a former holder that has not noticed yet.
//
// Epoch is the cluster's epoch; it rises when a cluster is restored from a
// backup, because revisions start again from an older value then. Revision is
// the etcd revision of the write that granted ownership.
// The zero Token is lower than any granted one.
type Token struct {
	Epoch    int64 `json:"epoch"`
	Revision int64 `json:"revision"`
}

// Compare returns -1, 0 or 1 as t is lower than, equal to or higher than o.
func (t Token) Compare(o Token) int {
	return cmp.Or(cmp.Compare(t.Epoch, o.Epoch), cmp.Compare(t.Revision, o.Revision))
}

// Less reports whether t is lower than o.
func (t Token) Less(o Token) bool { return t.Compare(o) < 0 }

// IsZero reports whether t is the zero Token, which is never granted.
func (t Token) IsZero() bool { return t == Token{} }

// String returns "epoch.revision", the form of CARILLON_TOKEN.
func (t Token) String() string {
	return strconv.FormatInt(t.Epoch, 10) + "." + strconv.FormatInt(t.Revision, 10)
}

// ParseToken reads the form that String writes.
func ParseToken(s string) (Token, error) {
	e, r, ok := strings.Cut(s, ".")
	epoch, err1 := strconv.ParseInt(e, 10, 64)
	rev, err2 := strconv.ParseInt(r, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return Token{}, fmt.Errorf("token %q: want EPOCH.REVISION", s)
	}
	return Token{Epoch: epoch, Revision: rev}, nil
}

// Trigger says what made an occurrence.
type Trigger uint8

// The kinds of trigger. Values are stored: never renumber them. Nodes and minions
// refuse what names a kind that they do not know, so that a new one needs a new
// version of the protocol between them.
const (
	// TriggerSchedule is an instant of the job's schedule.
	TriggerSchedule Trigger = 1
	// TriggerManual is a start that a person or a program asked for.
	TriggerManual Trigger = 2
	// TriggerAfter is the end of a run of another job; see After.
	TriggerAfter Trigger = 3
	// TriggerWatch is the change of a key in etcd; see Watch.
	TriggerWatch Trigger = 4
	// TriggerWebhook is a call of the job's webhook.
	TriggerWebhook Trigger = 5
	// TriggerBackfill is an instant of the job's schedule that lay in a window
	// which somebody asked to be run again.
	TriggerBackfill Trigger = 6
	// TriggerRedo is a run that does an earlier one again, in part or whole.
	TriggerRedo Trigger = 7
)

// Conditional reports whether the trigger is a condition of the job's spec: it
// does not start a job that is paused.
func (t Trigger) Conditional() bool {
	return t == TriggerAfter || t == TriggerWatch || t == TriggerWebhook
}

// triggerNames is indexed by Trigger.
var triggerNames = [...]string{
	TriggerSchedule: "schedule", TriggerManual: "manual", TriggerAfter: "after",
	TriggerWatch: "watch", TriggerWebhook: "webhook", TriggerBackfill: "backfill", TriggerRedo: "redo",
}

// Known reports whether there is such a kind.
func (t Trigger) Known() bool { return t >= TriggerSchedule && t <= TriggerRedo }

func (t Trigger) String() string {
	if int(t) < len(triggerNames) && triggerNames[t] != "" {
		return triggerNames[t]
	}
	return "trigger(" + strconv.Itoa(int(t)) + ")"
}

// ParseTrigger reads the form that String writes.
func ParseTrigger(s string) (Trigger, error) {
	for i, n := range triggerNames {
		if n != "" && n == s {
			return Trigger(i), nil
		}
	}
	return 0, fmt.Errorf("trigger %q: want one of %s", s, strings.Join(triggerNames[1:], ", "))
}

// FireID is the identity of one occurrence: job UID, scheduled instant and
// kind of trigger. It is comparable. At is in nanoseconds since the Unix
// epoch, UTC. Share is zero, or the number (ShareOf) of the node whose share of
// a parallel group's occurrence it is.
type FireID struct {
	Job     UID
	At      int64
	Trigger Trigger
	Share   uint32
}

// Time returns the scheduled instant, in UTC.
func (f FireID) Time() time.Time { return time.Unix(0, f.At).UTC() }

// String returns "UID@INSTANT/TRIGGER", the form of CARILLON_FIRE_ID; a share
// has ".SHARE" after it, in hexadecimal.
func (f FireID) String() string {
	s := f.Job.String() + "@" + f.Time().Format(time.RFC3339Nano) + "/" + f.Trigger.String()
	if f.Share != 0 {
		s += "." + strconv.FormatUint(uint64(f.Share), 16)
	}
	return s
}

// ParseFireID reads the form that String writes.
func ParseFireID(s string) (FireID, error) {
	uid, rest, ok1 := strings.Cut(s, "@")
	at, trig, ok2 := strings.Cut(rest, "/")
	if !ok1 || !ok2 {
		return FireID{}, fmt.Errorf("fire id %q: want UID@INSTANT/TRIGGER or UID@INSTANT/TRIGGER.SHARE", s)
	}
	u, err := ParseUID(uid)
	if err != nil {
		return FireID{}, fmt.Errorf("fire id %q: %w", s, err)
	}
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return FireID{}, fmt.Errorf("fire id %q: %w", s, err)
	}
	if !time.Unix(0, t.UnixNano()).Equal(t) {
		return FireID{}, fmt.Errorf("fire id %q: the instant is out of range; the years 1678 to 2261 are allowed", s)
	}
	trig, share, shared := strings.Cut(trig, ".")
	k, err := ParseTrigger(trig)
	if err != nil {
		return FireID{}, fmt.Errorf("fire id %q: %w", s, err)
	}
	f := FireID{Job: u, At: t.UnixNano(), Trigger: k}
	if shared {
		n, err := strconv.ParseUint(share, 16, 32)
		if err != nil || n == 0 {
			return FireID{}, fmt.Errorf("fire id %q: share %q: want a hexadecimal number above zero", s, share)
		}
		f.Share = uint32(n)
	}
	return f, nil
}

// MarshalText implements encoding.TextMarshaler.
func (f FireID) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *FireID) UnmarshalText(b []byte) error {
	v, err := ParseFireID(string(b))
	if err != nil {
		return err
	}
	*f = v
	return nil
}

// RunID names a run in commands and links. All runs of a job begin with the
// same four characters, RunID.Bucket, by which history finds them.
type RunID string

// runIDEncoding is Crockford's alphabet in lower case: no i, l, o, u.
var runIDEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

const runIDPrefix = 4

// RunID returns the id of the fire's run.
func (f FireID) RunID() RunID {
	fire := sha256.Sum256([]byte(f.String()))
	return RunID(f.Job.runPrefix() + "-" + runIDEncoding.EncodeToString(fire[:10]))
}

// runPrefix returns what all run ids of the job begin with.
func (u UID) runPrefix() string {
	sum := sha256.Sum256(u[:])
	return runIDEncoding.EncodeToString(sum[:5])[:runIDPrefix]
}

// Bucket returns the run's history bucket of n.
func (r RunID) Bucket(n int) int {
	s := string(r)
	if len(s) > runIDPrefix {
		s = s[:runIDPrefix]
	}
	return fold(s, n)
}

// RunBucket returns the history bucket of n in which all runs of the job lie.
func (u UID) RunBucket(n int) int { return fold(u.runPrefix(), n) }

func fold(s string, n int) int {
	sum := sha256.Sum256([]byte(s))
	v := uint64(sum[0])<<24 | uint64(sum[1])<<16 | uint64(sum[2])<<8 | uint64(sum[3])
	return int(v % uint64(n))
}

// Valid reports whether r has the form of a run id.
func (r RunID) Valid() bool {
	p, rest, ok := strings.Cut(string(r), "-")
	if !ok || len(p) != runIDPrefix || len(rest) != 16 {
		return false
	}
	_, err := runIDEncoding.DecodeString(rest)
	return err == nil
}

// TaskID names one attempt of a task: what a minion must not start twice.
// Attempt counts from 1.
type TaskID struct {
	Fire    FireID   `json:"fire"`
	Minion  MinionID `json:"minion"`
	Attempt int      `json:"attempt"`
}

func (t TaskID) String() string {
	return t.Fire.String() + "#" + strconv.Itoa(t.Attempt) + "@" + string(t.Minion)
}
