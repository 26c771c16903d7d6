// Package datadir makes the directories in which a process keeps its data, so
// that no other account can read or change what lies in them.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"go.uber.org/zap"
)

// The modes of data directories.
const (
	// Private keeps all others out.
	Private fs.FileMode = 0o700
	// Passable lets others through to what they know the name of, and may open.
	Passable fs.FileMode = 0o711
)

// ErrOpen is returned for a directory that other accounts can get into, or that
// belongs to one.
var ErrOpen = errors.New("data directory is open to others")

// Make makes the directory at path with the parents that it lacks, or takes over
// the one that is there: what its mode grants beyond mode is taken away, with a
// word in the log. ErrOpen is returned for one whose mode cannot be changed, that
// belongs to another account, or that is not known to be ours: it is not empty,
// and has none of the marks. Without marks, whatever lies at path is ours.
func Make(path string, mode fs.FileMode, log *zap.Logger, marks ...string) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return fmt.Errorf("data directory %s cannot be made: %w; choose another with --data-dir", path, err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	// Root owns what it likes: it gets everywhere.
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: %s belongs to account %d, who can read and change all that is kept there; run as that account, or have `chown %d %s`",
			ErrOpen, path, sys.Uid, os.Geteuid(), path)
	}
	was := st.Mode().Perm()
	if was&^mode == 0 {
		return nil
	}
	open := fmt.Errorf("%w: %s has mode %#o", ErrOpen, path, was)
	advice := fmt.Sprintf("choose a directory below it with --data-dir, or have `chmod %#o %s`", mode, path)
	ours, err := marked(path, marks)
	switch {
	case err != nil:
		return fmt.Errorf("data directory: %w", err)
	case !ours: // it may be /tmp
		return fmt.Errorf("%w, and other things lie there; %s", open, advice)
	}
	if err := os.Chmod(path, st.Mode()&^(fs.ModePerm&^mode)); err != nil {
		return fmt.Errorf("%w, and its owner alone can change that (%w); %s", open, err, advice)
	}
	log.Warn("data directory was open to other accounts, and is no longer", zap.String("path", path),
		zap.String("was", fmt.Sprintf("%#o", was)), zap.String("is", fmt.Sprintf("%#o", was&mode)))
	return nil
}

// OfMinion returns the mode of a minion's directory. Only root's commands may run
// as other accounts, and have to get through to where they start.
func OfMinion() fs.FileMode {
	if os.Geteuid() == 0 {
		return Passable
	}
	return Private
}

// MakeMinion makes a minion's data directory.
func MakeMinion(path string, log *zap.Logger) error {
	return Make(path, OfMinion(), log, "lock", "credentials", "facts.d", "update", "secret-identity")
}

// marked reports whether a directory is empty, or has one of the marks.
func marked(path string, marks []string) (bool, error) {
	if len(marks) == 0 {
		return true, nil
	}
	for _, m := range marks {
		if _, err := os.Lstat(filepath.Join(path, m)); err == nil {
			return true, nil
		}
	}
	entries, err := os.ReadDir(path)
	return len(entries) == 0, err
}
