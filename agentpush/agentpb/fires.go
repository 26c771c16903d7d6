package agentpb

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// MaxFires bounds the lines of one answer to Fires.
const MaxFires = 5000

// maxFireLine bounds one line of it.
const maxFireLine = 4 << 10

// KnownFire is what a minion's journal knows of an attempt of a fire: a line of the answer
// to Fires.
type KnownFire struct {
	// Key sorts the lines. From the last of a page the next one begins.
	Key     string      `json:"key"`
	Fire    job.FireID  `json:"fire"`
	Attempt int         `json:"attempt"`
	Shard   job.ShardID `json:"shard"`
	// State is how it has ended; empty: it has not. Waiting: it has not started either.
	State   job.State `json:"state,omitempty"`
	Waiting bool      `json:"waiting,omitempty"`
	EndedAt int64     `json:"endedAt,omitempty"`
	// Job is its name, where the minion still has its order.
	Job job.Key `json:"job,omitzero"`
}

// Gap is why a journal does not know all that was ever accepted on its host.
type Gap string

// The gaps that there are.
const (
	// GapNew: the data directory was made then; one of before, if there was one, is lost.
	GapNew Gap = "new"
	// GapCopy: the data directory is a copy, which was noticed then.
	GapCopy Gap = "copy"
)

// Words tells of a gap, for people.
func (g Gap) Words(since time.Time) string {
	at := since.UTC().Format(time.RFC3339)
	if g == GapCopy {
		return "the minion's data directory is an older copy, as was noticed at " + at + "; what was accepted before may not be in it"
	}
	return "the minion's data directory is new since " + at + "; what was accepted before is not in it"
}

// FiresEnd ends an answer; More: another page follows after the last key.
type FiresEnd struct {
	More bool `json:"more"`
	End  bool `json:"end"`
	// Since is since when the journal knows all, in nanoseconds, and Gap why; 0: since ever.
	Since int64 `json:"since,omitempty"`
	Gap   Gap   `json:"gap,omitempty"`
}

// IncompleteError is returned for an answer of a journal that does not know all.
type IncompleteError struct {
	Since time.Time
	Gap   Gap
}

func (e *IncompleteError) Error() string { return e.Gap.Words(e.Since) }

// errFires is wrapped by what is wrong with an answer.
var errFires = errors.New("answer about fires")

// ReadFires reads an answer to Fires, and returns its end.
func ReadFires(r io.Reader, fn func(KnownFire) error) (end FiresEnd, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, maxFireLine), maxFireLine)
	for n := 0; in.Scan(); n++ {
		end = FiresEnd{}
		if err := json.Unmarshal(in.Bytes(), &end); err != nil {
			return end, fmt.Errorf("%w: line %d: %w", errFires, n+1, err)
		}
		if end.End {
			if end.Since < 0 || (end.Since != 0) != (end.Gap != "") || end.Gap != "" && end.Gap != GapNew && end.Gap != GapCopy {
				return end, fmt.Errorf("%w: its end says nothing that can be: since %d, %q", errFires, end.Since, end.Gap)
			}
			return end, nil
		}
		var f KnownFire
		if err := json.Unmarshal(in.Bytes(), &f); err != nil {
			return end, fmt.Errorf("%w: line %d: %w", errFires, n+1, err)
		}
		switch {
		case n >= MaxFires:
			return end, fmt.Errorf("%w: it has more than %d lines", errFires, MaxFires)
		case f.Key == "" || f.Fire.Job == (job.UID{}) || f.Attempt < 1 || f.Attempt > job.MaxAttempts:
			return end, fmt.Errorf("%w: line %d names no fire", errFires, n+1)
		case f.State != "" && (!f.State.Final() || !slices.Contains(job.States(), f.State)):
			return end, fmt.Errorf("%w: line %d: state %q is none that a task ends in", errFires, n+1, f.State)
		}
		if err := fn(f); err != nil {
			return end, err
		}
	}
	if err := in.Err(); err != nil {
		return end, fmt.Errorf("%w: %w", errFires, err)
	}
	return end, fmt.Errorf("%w: it is cut short", errFires)
}
