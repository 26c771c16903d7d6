package etcdkv

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/carillon-cron/carillon/job"
)

// EntryState says what a slot's entry is waiting for.
type EntryState uint8

// The states of an entry. Values are stored: never renumber them.
const (
	EntryOpen    EntryState = 1 // to be run, or running
	EntryQueued  EntryState = 2 // to be run after an earlier run of the job has ended
	EntrySkipped EntryState = 3 // not run, by a policy; not in history yet
	EntryMissed  EntryState = 4 // not run, too late; not in history yet
)

// Slot is the packed value of one commit: the fires that it decided on. Only
// the shard's owner writes slots; one with nothing left to do is deleted.
type Slot struct {
	// CommittedAt is in nanoseconds since the Unix epoch.
	CommittedAt int64
	// Node is who committed the slot.
	Node    job.NodeID
	Entries []SlotEntry
}

// SlotEntry is one committed occurrence, or a row of missed ones.
type SlotEntry struct {
	Fire  job.FireID
	State EntryState
	// Share is the node whose share it is, when Fire.Share is not zero.
	Share job.NodeID
	// Reason tells why the entry was skipped or missed.
	Reason string
	SlotAsked
	// Count and Until describe a row of missed occurrences: Count of them,
	// from Fire.At to Until. Count is 0 or 1 for a single one.
	Count int64
	Until int64
	Tasks []SlotTask
}

// SlotAsked is what only some entries have. Its JSON form is that in a slot.
type SlotAsked struct {
	// Cause and Params are of an occurrence that was asked for: by whom, and
	// with what.
	Cause  string            `json:"c,omitempty"`
	Params map[string]string `json:"p,omitempty"`
	// Sensitive are those parameters whose values are told nowhere.
	Sensitive map[string]string `json:"q,omitempty"`
	// Redo is the run that the occurrence does again, in part or whole.
	Redo job.RunID `json:"r,omitempty"`
	// Promoted and Stopped are of a rollout: it may go on from its canaries; it
	// goes no further, because of this.
	Promoted bool   `json:"m,omitempty"`
	Stopped  string `json:"s,omitempty"`
	// Canaries is how many of the tasks, the first ones, are its canaries.
	Canaries int `json:"n,omitempty"`
	// Rollout is the job's as it was when the tasks were chosen; nil: none.
	Rollout *job.Rollout `json:"o,omitempty"`
	// Hosts are the minions of an entry that waits and is for these; once it has
	// tasks, they are those of the tasks.
	Hosts []job.MinionID `json:"h,omitempty"`
	// Attempts are those that later ones have replaced; LeftOut counts the older
	// ones that are not kept.
	Attempts []job.Attempt `json:"a,omitempty"`
	LeftOut  int           `json:"l,omitempty"`
	// Bounds are what who asked may have started, besides the job's own.
	Bounds job.Bounds `json:"b,omitempty"`
	// Subject is as that of a Trigger.
	Subject string `json:"u,omitempty"`
	// After is as that of a Trigger.
	After *AfterRun `json:"f,omitempty"`
}

// AfterRun is the run whose end has started another: for a job that waits for several, the
// last of them.
type AfterRun struct {
	Job   job.Key   `json:"j"`
	Run   job.RunID `json:"r"`
	State job.State `json:"s"`
}

// SlotTask is the share of one minion.
type SlotTask struct {
	Minion  job.MinionID
	Attempt int
	// NotBefore, when not 0, is when a later attempt may start.
	NotBefore int64
	// Share is the node whose share of the entry it is; empty: the entry is
	// not shared out, or is a share itself.
	Share job.NodeID
	// State and Reason are of a task that ended without an order. Empty: it did
	// not.
	State  job.State
	Reason string
}

const (
	// slotVersion is written for slots that need nothing newer.
	slotVersion = 1
	// slotShares is the version in which entries and tasks may have a share.
	slotShares = 2
	// slotAsked is the version in which entries may, besides, have a SlotAsked.
	slotAsked = 3
	// slotSettled is the version in which tasks may, besides, have ended.
	slotSettled = 4
	// slotPacked stands before a slot that is compressed (zstd), because it is
	// larger than packFrom bytes.
	slotPacked = 0x80
	packFrom   = 64 << 10
	// maxSlot bounds what a damaged slot can make a reader allocate.
	maxSlot = 64 << 20
)

// errSlot is wrapped by every error of DecodeSlot.
var errSlot = errors.New("malformed slot")

// EncodeSlot packs a slot: varints, with strings (minions, reasons) named once.
func EncodeSlot(s *Slot) []byte {
	b := make([]byte, 0, 64+len(s.Entries)*28)
	shares, asked, settled := s.shares(), s.asked(), s.settled()
	switch {
	case settled:
		shares, asked = true, true
		b = append(b, slotSettled)
	case asked:
		shares = true
		b = append(b, slotAsked)
	case shares:
		b = append(b, slotShares)
	default:
		b = append(b, slotVersion)
	}
	b = binary.AppendVarint(b, s.CommittedAt)
	b = appendString(b, string(s.Node))

	index := map[string]uint64{}
	var names []string
	last, at := "", uint64(0) // neighbours mostly name the same
	intern := func(t string) uint64 {
		if t == "" {
			return 0
		}
		if t == last {
			return at
		}
		i, ok := index[t]
		if !ok {
			names = append(names, t)
			i = uint64(len(names))
			index[t] = i
		}
		last, at = t, i
		return i
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		intern(e.Reason)
		intern(string(e.Share))
		if asked {
			intern(e.text())
		}
		for j := range e.Tasks {
			intern(string(e.Tasks[j].Minion))
			intern(string(e.Tasks[j].Share))
			intern(string(e.Tasks[j].State))
			intern(e.Tasks[j].Reason)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, n := range names {
		b = appendString(b, n)
	}

	b = binary.AppendUvarint(b, uint64(len(s.Entries)))
	prev := s.CommittedAt
	for i := range s.Entries {
		e := &s.Entries[i]
		b = append(b, byte(e.State), byte(e.Fire.Trigger))
		b = append(b, e.Fire.Job[:]...)
		if shares {
			b = binary.AppendUvarint(b, uint64(e.Fire.Share))
			b = binary.AppendUvarint(b, intern(string(e.Share)))
		}
		if asked {
			b = binary.AppendUvarint(b, intern(e.text()))
		}
		b = binary.AppendVarint(b, e.Fire.At-prev)
		prev = e.Fire.At
		b = binary.AppendUvarint(b, intern(e.Reason))
		b = binary.AppendUvarint(b, uint64(e.Count))
		if e.Count > 1 {
			b = binary.AppendVarint(b, e.Until-e.Fire.At)
		}
		b = binary.AppendUvarint(b, uint64(len(e.Tasks)))
		for _, t := range e.Tasks {
			b = binary.AppendUvarint(b, intern(string(t.Minion)))
			b = binary.AppendUvarint(b, uint64(t.Attempt)) // 1..job.MaxAttempts
			delta := int64(0)
			if t.NotBefore != 0 {
				delta = t.NotBefore - e.Fire.At
			}
			b = binary.AppendVarint(b, delta)
			if shares {
				b = binary.AppendUvarint(b, intern(string(t.Share)))
			}
			if settled {
				b = binary.AppendUvarint(b, intern(string(t.State)))
				b = binary.AppendUvarint(b, intern(t.Reason))
			}
		}
	}
	return pack(b)
}

// pack compresses a slot that is large: thousands of minions' names are.
func pack(b []byte) []byte {
	if len(b) < packFrom {
		return b
	}
	packed, err := compress(b, []byte{slotPacked})
	if err != nil {
		return b // it can be read as it is
	}
	return packed
}

// unpack is the opposite of pack.
func unpack(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != slotPacked {
		return b, nil
	}
	out, err := decompress(b[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSlot, err)
	}
	return out, nil
}

// compress appends what b is compressed (zstd) to.
func compress(b, to []byte) ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer func() { _ = enc.Close() }()
	return enc.EncodeAll(b, to), nil
}

// decompress is the opposite of compress.
func decompress(b []byte) ([]byte, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxSlot))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	return dec.DecodeAll(b, nil)
}

// settled reports whether any task has ended.
func (s *Slot) settled() bool {
	for i := range s.Entries {
		for j := range s.Entries[i].Tasks {
			if s.Entries[i].Tasks[j].State != "" {
				return true
			}
		}
	}
	return false
}

// shares reports whether anything of the slot has a share.
func (s *Slot) shares() bool {
	for i := range s.Entries {
		if s.Entries[i].Fire.Share != 0 {
			return true
		}
		for _, t := range s.Entries[i].Tasks {
			if t.Share != "" {
				return true
			}
		}
	}
	return false
}

// asked reports whether any entry has a SlotAsked.
func (s *Slot) asked() bool {
	for i := range s.Entries {
		if !s.Entries[i].isZero() {
			return true
		}
	}
	return false
}

func (a *SlotAsked) isZero() bool {
	return a.Cause == "" && len(a.Params)+len(a.Sensitive) == 0 && a.Redo == "" && !a.Promoted && a.Stopped == "" && a.Canaries == 0 && a.Rollout == nil && len(a.Hosts) == 0 &&
		len(a.Attempts) == 0 && a.LeftOut == 0 && len(a.Bounds) == 0 && a.Subject == "" && a.After == nil
}

// text returns it as one text; empty: it is zero.
func (a *SlotAsked) text() string {
	if a.isZero() {
		return ""
	}
	b, _ := json.Marshal(a) // texts can always be written
	return string(b)
}

// DecodeSlot reads what EncodeSlot wrote.
func DecodeSlot(b []byte) (*Slot, error) {
	b, err := unpack(b)
	if err != nil {
		return nil, err
	}
	d := slotReader{b: b}
	v := d.byte()
	if v < slotVersion || v > slotSettled {
		return nil, fmt.Errorf("%w: version %d, this release reads up to %d", errSlot, v, slotSettled)
	}
	s := &Slot{CommittedAt: d.varint(), Node: job.NodeID(d.string())}
	names := []string{""}
	for range d.count(1) {
		names = append(names, d.string())
	}
	name := func() string {
		if i := d.uvarint(); i < uint64(len(names)) {
			return names[i]
		}
		d.bad = true
		return ""
	}
	n := d.count(22)
	s.Entries = make([]SlotEntry, 0, n)
	prev := s.CommittedAt
	for range n {
		e := SlotEntry{State: EntryState(d.byte()), Fire: job.FireID{Trigger: job.Trigger(d.byte())}}
		copy(e.Fire.Job[:], d.take(len(e.Fire.Job)))
		if v >= slotShares {
			e.Fire.Share = uint32(d.uvarint()) // written from one
			e.Share = job.NodeID(name())
		}
		if v >= slotAsked {
			if text := name(); text != "" && json.Unmarshal([]byte(text), &e.SlotAsked) != nil {
				d.bad = true
			}
		}
		e.Fire.At = prev + d.varint()
		prev = e.Fire.At
		e.Reason = name()
		e.Count = int64(d.uvarint())
		if e.Count > 1 {
			e.Until = e.Fire.At + d.varint()
		}
		for range d.count(3) {
			t := SlotTask{Minion: job.MinionID(name()), Attempt: int(d.uvarint())}
			if delta := d.varint(); delta != 0 {
				t.NotBefore = e.Fire.At + delta
			}
			if v >= slotShares {
				t.Share = job.NodeID(name())
			}
			if v >= slotSettled {
				t.State, t.Reason = job.State(name()), name()
			}
			e.Tasks = append(e.Tasks, t)
		}
		if d.bad {
			break
		}
		s.Entries = append(s.Entries, e)
	}
	if d.bad {
		return nil, fmt.Errorf("%w: cut short or damaged (%d bytes)", errSlot, len(b))
	}
	return s, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// slotReader reads from b; bad is set, and zeros are returned, past its end.
type slotReader struct {
	b   []byte
	bad bool
}

func (d *slotReader) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *slotReader) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *slotReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *slotReader) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads how many things of at least size bytes follow.
func (d *slotReader) count(size int) int {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.b)/size) {
		d.bad = true
		return 0
	}
	return int(n) // bounded by len(d.b)
}

func (d *slotReader) string() string { return string(d.take(d.count(1))) }
