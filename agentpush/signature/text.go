package signature

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// The numbers of an order's fields. They are signed: a number is never used again, and a
// new field gets one at the end.
const (
	fieldJob = iota + 1
	fieldAt
	fieldTrigger
	fieldShare
	fieldAttempt
	fieldShard
	fieldEpoch
	fieldRevision
	fieldTerm
	fieldNamespace
	fieldName
	fieldRunID
	fieldCommand
	fieldScript
	fieldSteps
	fieldEnv
	fieldSecrets
	fieldWorkingDir
	fieldUser
	fieldLimits
	fieldScheduledAt
	fieldNotAfter
	fieldTimeout
	fieldSubject
	fieldAuthor
	fieldReason
	fieldJobAuthor
)

// The numbers of the fields of an order's parts.
const (
	scriptInterpreter = iota + 1
	scriptSource
	scriptSHA256
)

const (
	stepName = iota + 1
	stepCommand
	stepScript
	stepArgs
	stepEnv
	stepIf
	stepContinueOnFailure
	stepTimeout
)

const (
	limitMemory = iota + 1
	limitPids
	limitCPU
)

const (
	secretFile = iota + 1
	secretVariable
	secretExec
	secretMask
	secretValue
	secretName
	secretSealed
)

// What the texts of orders, questions and cancels follow: none is taken for another.
const (
	orderText    = "carillon order 1\x00"
	questionText = "carillon question 1\x00"
	cancelText   = "carillon cancel 1\x00"
)

// Digests makes the digests of orders. It may be used again, by one goroutine at a time.
type Digests struct{ buf text }

// Of returns the digest of an order, whichever its minion is.
func (d *Digests) Of(o *job.Order) Hash {
	d.buf = append(d.buf[:0], orderText...)
	d.buf.order(o)
	return sha256.Sum256(d.buf)
}

// OfQuestion returns the digest of a question about a task, whichever its minion is.
func (d *Digests) OfQuestion(r *job.Ref) Hash {
	d.buf = append(d.buf[:0], questionText...)
	d.buf.ref(r)
	return sha256.Sum256(d.buf)
}

// OfCancel returns the digest of a cancel of a task, whichever its minion is.
func (d *Digests) OfCancel(r *job.Ref, reason string) Hash {
	d.buf = append(d.buf[:0], cancelText...)
	d.buf.ref(r)
	d.buf.words(fieldReason, reason)
	return sha256.Sum256(d.buf)
}

// text is what is signed.
type text []byte

// ref writes which task it is about, and which owner speaks.
func (t *text) ref(r *job.Ref) {
	id := &r.Task.Fire
	if id.Job != (job.UID{}) {
		t.words(fieldJob, string(id.Job[:]))
	}
	t.integer(fieldAt, id.At)
	t.integer(fieldTrigger, int64(id.Trigger))
	t.integer(fieldShare, int64(id.Share))
	t.integer(fieldAttempt, int64(r.Task.Attempt))
	t.integer(fieldShard, int64(r.Shard))
	t.integer(fieldEpoch, r.Token.Epoch)
	t.integer(fieldRevision, r.Token.Revision)
	t.integer(fieldTerm, int64(r.Term))
}

func (t *text) order(o *job.Order) {
	t.ref(&job.Ref{Task: o.Task, Shard: o.Shard, Token: o.Token, Term: o.Term})
	t.words(fieldNamespace, o.Key.Namespace)
	t.words(fieldName, o.Key.Name)
	t.words(fieldRunID, string(o.RunID))
	t.list(fieldCommand, o.Command)
	if s := o.Script; s != nil {
		t.part(fieldScript, func() {
			t.list(scriptInterpreter, s.Interpreter)
			t.words(scriptSource, s.Source)
			t.words(scriptSHA256, o.ScriptSHA256)
		})
	}
	if len(o.Steps) > 0 {
		t.count(fieldSteps, len(o.Steps))
		for i := range o.Steps {
			t.sized(func() { t.step(&o.Steps[i]) })
		}
	}
	t.pairs(fieldEnv, o.Env)
	if len(o.Secrets) > 0 {
		t.count(fieldSecrets, len(o.Secrets))
		for _, name := range slices.Sorted(maps.Keys(o.Secrets)) {
			t.sizedText(name)
			t.sized(func() { t.secret(o.Secrets[name]) })
		}
	}
	t.words(fieldWorkingDir, o.WorkingDir)
	t.words(fieldUser, o.User)
	t.part(fieldLimits, func() {
		t.integer(limitMemory, int64(o.Limits.Memory))
		t.integer(limitPids, int64(o.Limits.Pids))
		t.integer(limitCPU, int64(o.Limits.CPU))
	})
	t.instant(fieldScheduledAt, o.ScheduledAt)
	t.instant(fieldNotAfter, o.NotAfter)
	t.integer(fieldTimeout, int64(o.Timeout))
	t.words(fieldSubject, o.Subject)
	t.words(fieldAuthor, o.Author)
	t.words(fieldJobAuthor, o.JobAuthor)
}

func (t *text) step(st *job.OrderStep) {
	t.words(stepName, st.Name)
	t.list(stepCommand, st.Command)
	if s := st.Script; s != nil {
		t.part(stepScript, func() {
			t.words(scriptSource, s.Source)
			t.words(scriptSHA256, s.SHA256)
		})
	}
	t.list(stepArgs, st.Args)
	t.pairs(stepEnv, st.Env)
	t.words(stepIf, string(st.If))
	t.flag(stepContinueOnFailure, st.ContinueOnFailure)
	t.integer(stepTimeout, int64(st.Timeout))
}

func (t *text) secret(v job.OrderSecret) {
	if s := v.Secret; s != nil {
		t.words(secretFile, s.File)
		t.words(secretVariable, s.Env)
		t.list(secretExec, s.Exec)
		t.words(secretName, s.Name)
		t.words(secretSealed, v.Sealed)
	}
	t.flag(secretMask, v.Mask)
	t.words(secretValue, v.Value)
}

func (t *text) uvarint(v uint64) { *t = binary.AppendUvarint(*t, v) }

func (t *text) integer(field int, v int64) {
	if v != 0 {
		t.uvarint(uint64(field)) // a constant above 0
		*t = binary.AppendVarint(*t, v)
	}
}

func (t *text) flag(field int, v bool) {
	if v {
		t.integer(field, 1)
	}
}

// instant writes a time as the wire has it: in nanoseconds since the Unix epoch.
func (t *text) instant(field int, at time.Time) {
	if !at.IsZero() {
		t.integer(field, at.UnixNano())
	}
}

func (t *text) sizedText(s string) {
	t.uvarint(uint64(len(s)))
	*t = append(*t, s...)
}

func (t *text) words(field int, s string) {
	if s != "" {
		t.uvarint(uint64(field)) // a constant above 0
		t.sizedText(s)
	}
}

func (t *text) count(field, n int) {
	t.uvarint(uint64(field)) // a constant above 0
	t.uvarint(uint64(n))     // a length
}

func (t *text) list(field int, list []string) {
	if len(list) == 0 {
		return
	}
	t.count(field, len(list))
	for _, s := range list {
		t.sizedText(s)
	}
}

func (t *text) pairs(field int, m map[string]string) {
	if len(m) == 0 {
		return
	}
	t.count(field, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		t.sizedText(name)
		t.sizedText(m[name])
	}
}

// partSize is what tells the length of a part.
const partSize = 4

// sized writes the length of what write writes, and it.
func (t *text) sized(write func()) {
	at := len(*t)
	*t = append(*t, make([]byte, partSize)...)
	write()
	binary.BigEndian.PutUint32((*t)[at:], uint32(len(*t)-at-partSize)) // an order is far below 4 GiB
}

// part writes a part with fields of its own, unless all of these are zero.
func (t *text) part(field int, write func()) {
	before := len(*t)
	t.uvarint(uint64(field)) // a constant above 0
	at := len(*t)
	t.sized(write)
	if len(*t) == at+partSize {
		*t = (*t)[:before]
	}
}
