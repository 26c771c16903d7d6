package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

const (
	// memoryName is the file that tells since when the journal knows all.
	memoryName   = "memory.json"
	memorySchema = 1
)

// memory says since when the journal knows all that was ever accepted here, and notices a
// data directory that is a copy, such as one from a backup: what was accepted after the copy
// was made is not in it. The file has written in it which file it is, by number and time of
// birth, and a copy is another file. It is written anew now and then, so that one that is
// written over in place is found out, too.
type memory struct {
	path string
	// keep is how long the journal remembers; 0: for ever.
	keep time.Duration
	memoryState
}

// memoryState is what the file has.
type memoryState struct {
	Schema int `json:"schema"`
	// Since is since when; zero: a release before this one has made the directory.
	Since time.Time `json:"since,omitzero"`
	// Why it is not since ever.
	Why agentpb.Gap `json:"why,omitempty"`
	// Inode and Born are of this file. Born is 0 where the file system does not tell it.
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born,omitempty"`
}

// openMemory reads the file, or makes it. fresh: there was no journal.
func openMemory(path string, fresh bool, now time.Time, log *zap.Logger) (*memory, error) {
	m := &memory{path: path}
	removeLeft(path)
	read, err := m.read()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s, which tells since when the journal knows all, cannot be read: %w; if it is damaged, remove it together with the journal: what was accepted is not known then", path, err)
	case fresh:
		m.Since, m.Why = now.UTC(), agentpb.GapNew
	case read && !m.same():
		m.Since, m.Why = now.UTC(), agentpb.GapCopy
		log.Error("the data directory is a copy of another one, or of this one at an earlier time: what was accepted since the copy was made is not known, and is told as indeterminate", zap.String("path", filepath.Dir(path)))
	}
	return m, m.refresh()
}

// removeLeft removes what writes that were broken off have left.
func removeLeft(path string) {
	left, _ := filepath.Glob(path + ".*") // the pattern is good
	for _, f := range left {
		_ = os.Remove(f)
	}
}

// read reads the file, and reports whether there is one.
func (m *memory) read() (bool, error) {
	text, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(text, &m.memoryState); err != nil {
		return false, err
	}
	if m.Schema != memorySchema {
		return false, fmt.Errorf("it is of schema %d, and this release reads %d", m.Schema, memorySchema)
	}
	return true, nil
}

// same reports whether the file is the one that it says it is.
func (m *memory) same() bool {
	f, err := os.Open(m.path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	inode, born, err := identify(f)
	return err == nil && inode == m.Inode && (born == m.Born || born == 0 || m.Born == 0)
}

// refresh writes the file anew: a crash leaves the former one or this one.
func (m *memory) refresh() (err error) {
	f, err := os.CreateTemp(filepath.Dir(m.path), memoryName+".*") // another file than the one that is there
	if err != nil {
		return fmt.Errorf("since when the journal knows all: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("since when the journal knows all: %w", err)
		}
	}()
	next := m.memoryState
	next.Schema = memorySchema
	next.Inode, next.Born, err = identify(f)
	var text []byte
	if err == nil {
		text, err = json.Marshal(next)
	}
	if err == nil {
		_, err = f.Write(append(text, '\n'))
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), m.path); err != nil {
		return err
	}
	m.Inode, m.Born = next.Inode, next.Born // others read the rest meanwhile
	dir, err := os.Open(filepath.Dir(m.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// identify returns the number of a file and when it was made; 0: that is not told.
func identify(f *os.File) (inode uint64, born int64, err error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st); err == nil && st.Mask&unix.STATX_INO != 0 {
		if st.Mask&unix.STATX_BTIME != 0 {
			born = st.Btime.Sec*int64(time.Second) + int64(st.Btime.Nsec)
		}
		return st.Ino, born, nil
	}
	var old unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &old); err != nil {
		return 0, 0, err
	}
	return old.Ino, 0, nil
}

// gone reports whether a fire that the journal does not know may have been accepted here
// and forgotten, and why.
func (m *memory) gone(fire job.FireID) (why string, is bool) {
	switch {
	case m == nil || m.Since.IsZero() || fire.At >= m.Since.UnixNano():
		return "", false
	case m.keep > 0 && time.Since(m.Since) > m.keep:
		return "", false // it would be forgotten by now in any case
	case m.Why == agentpb.GapNew && fire.Trigger == job.TriggerBackfill:
		// Its instant is old, whenever it is ordered: as a rule it was ordered since.
		return "", false
	}
	return m.Why.Words(m.Since), true
}
