package worker

import (
	"errors"
	"sync"
	"syscall"
	"time"
)

// What a minion can be troubled by, as its beats tell it.
const (
	// TroubleJournalFull: orders are refused, because there is no room for them.
	TroubleJournalFull = "journal full"
	// TroubleJournal: orders are refused, because the journal cannot be written.
	TroubleJournal = "journal cannot be written"
	// TroublePast: orders are refused, because the node's etcd went back.
	TroublePast = "etcd went back"
	// TroubleDisk: there is less room on the disk than Config.MinFree.
	TroubleDisk = "disk full"
)

const (
	// lookEvery is how often the room on the disk is looked at.
	lookEvery = 10 * time.Second
	// probeBytes is how much has to fit into a journal that could not be written,
	// before it counts as healed: less would let the next order fail again.
	probeBytes = 64 << 10
)

// troubles are what keeps a minion from working well. Its methods may be called
// from any goroutine.
type troubles struct {
	mu sync.Mutex
	// mu guards the following: empty, or one of the constants.
	journal, limit, disk, past string
}

func (t *troubles) list() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, s := range []string{t.journal, t.limit, t.disk, t.past} {
		if s != "" && (len(out) == 0 || out[0] != s) {
			out = append(out, s)
		}
	}
	return out
}

// set notes or clears a trouble, and reports whether that is new.
func (t *troubles) set(which *string, is bool, word string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !is {
		word = ""
	}
	changed := *which != word
	*which = word
	return changed
}

func (t *troubles) journalFailed(err error) {
	word := TroubleJournal
	if diskFull(err) {
		word = TroubleJournalFull
	}
	t.set(&t.journal, true, word)
}

func (t *troubles) journalWorks() { t.set(&t.journal, false, "") }

// journalBroken reports whether the last write has failed.
func (t *troubles) journalBroken() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.journal != ""
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// freeBytes returns how many bytes the minion can still write where dir is.
func freeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil // no disk has 2^63 bytes
}
