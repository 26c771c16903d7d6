package agentpb

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

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

// FiresEnd ends an answer; More: another page follows after the last key.
type FiresEnd struct {
	More bool `json:"more"`
	End  bool `json:"end"`
}

// errFires is wrapped by what is wrong with an answer.
var errFires = errors.New("answer about fires")

// ReadFires reads an answer to Fires. It reports whether another page follows.
func ReadFires(r io.Reader, fn func(KnownFire) error) (more bool, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, maxFireLine), maxFireLine)
	for n := 0; in.Scan(); n++ {
		var end FiresEnd
		if err := json.Unmarshal(in.Bytes(), &end); err != nil {
			return false, fmt.Errorf("%w: line %d: %w", errFires, n+1, err)
		}
		if end.End {
			return end.More, nil
		}
		var f KnownFire
		if err := json.Unmarshal(in.Bytes(), &f); err != nil {
			return false, fmt.Errorf("%w: line %d: %w", errFires, n+1, err)
		}
		switch {
		case n >= MaxFires:
			return false, fmt.Errorf("%w: it has more than %d lines", errFires, MaxFires)
		case f.Key == "" || f.Fire.Job == (job.UID{}) || f.Attempt < 1 || f.Attempt > job.MaxAttempts:
			return false, fmt.Errorf("%w: line %d names no fire", errFires, n+1)
		case f.State != "" && (!f.State.Final() || !slices.Contains(job.States(), f.State)):
			return false, fmt.Errorf("%w: line %d: state %q is none that a task ends in", errFires, n+1, f.State)
		}
		if err := fn(f); err != nil {
			return false, err
		}
	}
	if err := in.Err(); err != nil {
		return false, fmt.Errorf("%w: %w", errFires, err)
	}
	return false, fmt.Errorf("%w: it is cut short", errFires)
}
