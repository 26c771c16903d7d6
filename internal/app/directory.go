package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/datadir"
)

// ErrInUse is returned when another process uses the data directory.
var ErrInUse = errors.New("data directory in use")

// directory is a locked data directory. Its identity stays the same over
// restarts.
type directory struct {
	path     string
	identity string
	lock     *os.File
}

// openDirectory makes and locks a data directory, which no other account can
// get into.
func openDirectory(path string, log *zap.Logger) (*directory, error) {
	if err := datadir.Make(path, datadir.Private, log, "lock", "etcd", sealKeyName); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s cannot be written: %w; choose another with --data-dir", path, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("%w: another process runs on %s; stop it, or choose another with --data-dir", ErrInUse, path)
	}
	d := &directory{path: path, lock: lock}
	if d.identity, err = identity(filepath.Join(path, "identity")); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// identity reads the directory's identity, or makes it.
func identity(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("new identity: %w", err)
	}
	if err := os.WriteFile(path, []byte(id.String()+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write identity: %w", err)
	}
	return id.String(), nil
}

// close unlocks the directory.
func (d *directory) close() { _ = d.lock.Close() }
